import { inNetworkNamespace } from '../ffi/namespace.js';
import { linkName, PacketBatch } from '../ffi/packet-batch.js';
import { closeSocketOffThread, type FilterInstruction, SocketWatch } from '../ffi/sockets.js';
import { decode, type Seen } from './frames.js';
import { type Rival, rivals, Sightings } from './sightings.js';

export interface JudgeOptions {
  /** Network namespace of the switch. */
  readonly namespacePath: string;
  /** Who hangs at a port of the switch; undefined: not to be watched. */
  portOwner(port: string): string | undefined;
  /** The vMACs that must never be live twice. */
  readonly macs: readonly string[];
}

export interface Verdict {
  /** No vMAC was live from two ports, and the judge missed nothing. */
  readonly ok: boolean;
  readonly rivals: readonly Rival[];
  /** Frames that the judge itself was too slow for. */
  readonly missed: number;
  /** Frames with a vMAC that were judged. */
  readonly frames: number;
}

/** Heartbeats and acknowledgements as they pass the switch: from whom, to whom, when. */
export interface PulsePassage {
  readonly from: string;
  readonly to: string;
  readonly atNs: bigint;
}

const vxlanPort = 4789;
const pulsePort = 7411;
/** Outer Ethernet, IPv4, UDP and VXLAN headers, and an inner ARP or IP header. */
const snapBytes = 128;
const queueBytes = 64 * 1024 * 1024;
const keptPassages = 4_096;

/**
 * Classic BPF (socket(7)): VXLAN and pulse packets, and whatever carries a source MAC that is not of a
 * lab's own NICs (02:55:4c, src/lab/wiring.ts); so a plain or tagged vMAC passes, iSCSI does not.
 */
const filter: readonly FilterInstruction[] = [
  [0x28, 0, 0, 12], // ldh [12]
  [0x15, 0, 8, 0x0800], // jeq IPv4, else plain
  [0x30, 0, 0, 23], // ldb [23]
  [0x15, 0, 6, 17], // jeq UDP, else plain
  [0x28, 0, 0, 20], // ldh [20]
  [0x45, 4, 0, 0x1fff], // jset fragment: plain
  [0xb1, 0, 0, 14], // ldxb 4*([14]&0xf)
  [0x48, 0, 0, 16], // ldh [x+16]
  [0x15, 5, 0, vxlanPort], // jeq: take
  [0x15, 4, 0, pulsePort], // jeq: take
  [0x20, 0, 0, 6], // plain: ld [6]
  [0x54, 0, 0, 0xffffff00], // and
  [0x15, 0, 1, 0x02554c00], // jeq a NIC of the lab: drop
  [0x06, 0, 0, 0],
  [0x06, 0, 0, snapBytes],
];

/**
 * Watches every port of a lab's switch by a packet socket of its own and says whether any vMAC was ever
 * live from two of them. It asks nothing of the product: what counts is which frames came out of whom.
 */
export class Judge {
  readonly #options: JudgeOptions;
  readonly #macs: ReadonlySet<string>;
  readonly #batch: PacketBatch;
  readonly #watch: SocketWatch;
  readonly #owners = new Map<number, string | undefined>();
  readonly #passages: PulsePassage[] = [];
  readonly sightings = new Sightings();
  #missed = 0;
  #stopped = false;

  constructor(options: JudgeOptions) {
    this.#options = options;
    this.#macs = new Set(options.macs);
    this.#batch = inNetworkNamespace(
      options.namespacePath,
      () => new PacketBatch(filter, snapBytes, queueBytes),
    );
    this.#watch = new SocketWatch(this.#batch.fd, () => this.#read());
  }

  /** The newest heartbeats and acknowledgements, oldest first. Addresses are of the underlay. */
  get passages(): readonly PulsePassage[] {
    this.#read();
    return this.#passages;
  }

  /** When the last frame with this vMAC came out of this host, on the boot clock. */
  lastFrame(mac: string, host: string): bigint | undefined {
    this.#read();
    return this.sightings.lastFrom(mac, host);
  }

  /** `owners`: for each vMAC the hosts that were given it, in order; left out: each host once. */
  verdict(owners?: ReadonlyMap<string, readonly string[]>): Verdict {
    this.#read();
    const found = this.sightings.macs.flatMap((mac) =>
      rivals(mac, this.sightings.tenures(mac), owners?.get(mac)),
    );
    const { frames } = this.sightings;
    return {
      ok: found.length === 0 && this.#missed === 0,
      rivals: found,
      missed: this.#missed,
      frames,
    };
  }

  stop(): void {
    if (this.#stopped) return;
    this.#read();
    this.#stopped = true;
    this.#watch.close();
    closeSocketOffThread(this.#batch.fd);
  }

  #read(): void {
    if (this.#stopped) return;
    for (;;) {
      const batch = this.#batch.read();
      if (batch.length === 0) break;
      for (const { atNs, linkIndex, frame } of batch) {
        const host = this.#ownerOf(linkIndex);
        const seen = host === undefined ? undefined : decode(frame);
        if (host !== undefined && seen !== undefined) this.#take(seen, host, atNs);
      }
    }
    this.#missed += this.#batch.dropped();
  }

  #take(seen: Seen, host: string, atNs: bigint): void {
    const { ip } = seen;
    if (ip !== undefined && seen.vxlan === undefined && ip.payload.length >= 4) {
      if (ip.protocol === 17 && ip.payload.readUInt16BE(2) === pulsePort) {
        this.#passages.push({ from: ip.source, to: ip.destination, atNs });
        if (this.#passages.length > 2 * keptPassages) this.#passages.splice(0, keptPassages);
        return;
      }
    }
    const { source } = seen.vxlan?.inner ?? seen;
    if (this.#macs.has(source)) this.sightings.add(source, host, atNs);
  }

  /** A port is made anew at each power-on, and its number with it. */
  #ownerOf(linkIndex: number): string | undefined {
    if (!this.#owners.has(linkIndex)) {
      const { namespacePath, portOwner } = this.#options;
      const port = inNetworkNamespace(namespacePath, () => linkName(linkIndex));
      this.#owners.set(linkIndex, port === undefined ? undefined : portOwner(port));
    }
    return this.#owners.get(linkIndex);
  }
}
