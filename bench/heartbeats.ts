import { randomBytes } from 'node:crypto';
import { Counters } from '../src/pulse/counters.js';
import { Granting } from '../src/pulse/granting.js';
import { decodePacket, encodePacket, type Packet } from '../src/pulse/packet.js';
import { heldBytes, timed } from './measure.js';

/** What a controller's pulse spends on heartbeats at one size. */
export interface HeartbeatCosts {
  /** The decision alone: one heartbeat to its ack, µs. */
  readonly decide: number;
  /** With checking and making the packets' authentication, without the kernel's part, µs. */
  readonly whole: number;
  /** One look at all hosts when nothing has lapsed, µs. */
  readonly look: number;
  /** One host's silence noticed, with the look that finds it, µs. */
  readonly lapse: number;
  readonly bytesPerHost: number;
}

const key = randomBytes(32);
const heartbeatNs = 50_000_000n;
const rounds = 8;

/** All hosts beating in turn: what a controller gets in one period after another. */
class Farm {
  readonly granting: Granting;
  readonly #echoes = new Map<string, bigint>();
  readonly #nonces = new Map<string, string>();
  readonly #names: readonly string[];
  #ackId = 0n;
  #seq = 0n;
  nowNs = 1_000_000_000_000n;
  lapsed = 0;
  authenticated = false;

  constructor(hosts: number) {
    this.#names = Array.from({ length: hosts }, (_, index) => `h${index + 1}`);
    for (const name of this.#names) this.#nonces.set(name, randomBytes(16).toString('hex'));
    this.granting = new Granting({
      record: { renew: (_length, nowNs) => nowNs },
      counters: new Counters(),
      nextAckId: () => ++this.#ackId,
      send: (peer, packet) => {
        if (this.authenticated) encodePacket(packet, key);
        this.#echoes.set(peer.name, packet.ackId);
      },
      emit: (event) => {
        if (event.kind === 'lapsed') this.lapsed++;
      },
      log: () => undefined,
    });
    const peers = this.#names.map((name) => ({ name, address: '127.0.0.1', port: 1 }));
    const timing = { leaseMs: 200, clockMarginPercent: 1 };
    const control = { kind: 'control', controller: 'c', hosts: peers, stopped: [] } as const;
    this.granting.control({ ...control, ...timing }, this.nowNs);
    for (let round = 0; round < 3; round++) this.deliver(this.period());
  }

  /** One heartbeat of every host, or of all but the first few. */
  period(silent = 0): Packet[] {
    this.#seq++;
    return this.#names.slice(silent).map((sender) => ({
      type: 'heartbeat',
      sender,
      receiver: 'c',
      incarnation: 1,
      nonce: this.#nonces.get(sender) ?? '',
      seq: this.#seq,
      sentAtNs: this.nowNs,
      ackId: this.#echoes.get(sender) ?? 0n,
      leaseNs: 0n,
      set: 0,
    }));
  }

  deliver(packets: readonly Packet[]): void {
    for (const packet of packets) this.granting.receive(packet, this.nowNs);
    this.nowNs += heartbeatNs;
  }

  deliverBytes(datagrams: readonly Buffer[]): void {
    for (const bytes of datagrams) {
      const packet = decodePacket(bytes, key);
      if (typeof packet !== 'string') this.granting.receive(packet, this.nowNs);
    }
    this.nowNs += heartbeatNs;
  }
}

export function measureHeartbeats(hosts: number): HeartbeatCosts {
  const farm = new Farm(hosts);
  const decide = timed(
    (packets) => farm.deliver(packets),
    () => farm.period(),
    hosts,
  );
  farm.authenticated = true;
  const whole = timed(
    (datagrams) => farm.deliverBytes(datagrams),
    () => farm.period().map((packet) => encodePacket(packet, key)),
    hosts,
  );
  farm.authenticated = false;
  const look = timed(
    () => farm.granting.tick(farm.nowNs),
    () => {
      // Later than any wish, and nobody has lapsed: heartbeats came just now.
      for (let round = 0; round < rounds; round++) farm.deliver(farm.period());
    },
  );
  return {
    decide,
    whole,
    look,
    lapse: measureLapse(hosts),
    bytesPerHost: heldBytes(() => new Farm(hosts)) / hosts,
  };
}

function measureLapse(hosts: number): number {
  return timed(
    (farm) => {
      farm.granting.tick(farm.nowNs);
      if (farm.lapsed !== 1) throw new Error(`${farm.lapsed} hosts lapsed, not one`);
    },
    () => {
      const farm = new Farm(hosts);
      for (let round = 0; round < rounds; round++) farm.deliver(farm.period(1));
      return farm;
    },
  );
}
