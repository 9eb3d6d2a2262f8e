import type { Packet } from '../pulse/packet.js';
import type { Random } from './random.js';
import { msNs, type VirtualTime } from './time.js';

/** What the internal network does to packets of one direction between two hosts. */
export interface LinkTrouble {
  readonly loss: number;
  readonly duplicates: number;
  /** Longest delay; each packet gets its own, so that they overtake each other. */
  readonly delayMs: number;
}

const calm: LinkTrouble = { loss: 0, duplicates: 0, delayMs: 0.6 };
const shortestDelayMs = 0.05;
/** Captured packets that may be sent again at any later time. */
const captured = 256;

/** Told of every packet that leaves and every packet that arrives. */
export interface PacketListener {
  sent(from: string, packet: Packet): void;
  arrived(to: string, packet: Packet): void;
}

interface Ear {
  readonly receive: (packet: Packet) => void;
}

/** The internal network as pulses see it: packets are lost, doubled, delayed, reordered, replayed. */
export class Datagrams {
  readonly #time: VirtualTime;
  readonly #random: Random;
  readonly #listener: PacketListener;
  readonly #ears = new Map<string, Set<Ear>>();
  readonly #cut = new Map<string, number>();
  readonly #troubles = new Map<string, LinkTrouble>();
  readonly #seen: { readonly to: string; readonly packet: Packet }[] = [];
  #everywhere: LinkTrouble | undefined;

  constructor(time: VirtualTime, random: Random, listener: PacketListener) {
    this.#time = time;
    this.#random = random;
    this.#listener = listener;
  }

  /** A process listens at this host; several do while an old one will not die. */
  listen(host: string, receive: (packet: Packet) => void): () => void {
    const ear = { receive };
    const ears = this.#ears.get(host) ?? new Set();
    this.#ears.set(host, ears.add(ear));
    return () => ears.delete(ear);
  }

  send(from: string, to: string, packet: Packet): void {
    this.#listener.sent(from, packet);
    if (this.#seen.length >= captured) this.#seen.shift();
    this.#seen.push({ to, packet });
    if (from === to) {
      this.#deliver(to, packet, shortestDelayMs);
      return;
    }
    const trouble = this.#troubleOf(from, to) ?? this.#everywhere ?? calm;
    const random = this.#random;
    const delayMs = random.between(shortestDelayMs, trouble.delayMs);
    const lost = random.chance(trouble.loss) || !this.passes(from, to);
    if (!lost) this.#deliver(to, packet, delayMs);
    if (random.chance(trouble.duplicates) && this.passes(from, to)) {
      this.#deliver(to, packet, delayMs + random.between(0, 50));
    }
  }

  /** Whether packets of this direction get through at all. */
  passes(from: string, to: string): boolean {
    return from === to || this.#cut.size === 0 || !this.#cut.has(linkOf(from, to));
  }

  #troubleOf(from: string, to: string): LinkTrouble | undefined {
    return this.#troubles.size === 0 ? undefined : this.#troubles.get(linkOf(from, to));
  }

  /** Cuts one direction; as often as it was cut it must be healed. */
  cut(from: string, to: string): void {
    const link = linkOf(from, to);
    this.#cut.set(link, (this.#cut.get(link) ?? 0) + 1);
  }

  heal(from: string, to: string): void {
    const link = linkOf(from, to);
    const left = (this.#cut.get(link) ?? 0) - 1;
    if (left > 0) this.#cut.set(link, left);
    else this.#cut.delete(link);
  }

  trouble(from: string, to: string, trouble: LinkTrouble | undefined): void {
    if (trouble === undefined) this.#troubles.delete(linkOf(from, to));
    else this.#troubles.set(linkOf(from, to), trouble);
  }

  troubleEverywhere(trouble: LinkTrouble | undefined): void {
    this.#everywhere = trouble;
  }

  /** Sends packets again that somebody once captured: they are authentic, and old. */
  replay(count: number): void {
    for (let again = 0; again < count && this.#seen.length > 0; again++) {
      const { to, packet } = this.#random.pick(this.#seen);
      this.#deliver(to, packet, this.#random.between(0, 300));
    }
  }

  #deliver(to: string, packet: Packet, delayMs: number): void {
    this.#time.after(delayMs * msNs, () => {
      for (const ear of this.#ears.get(to) ?? []) ear.receive(packet);
    });
  }

  /** Called by the receiving process: a packet in a stopped one's buffer has not arrived. */
  arrived(to: string, packet: Packet): void {
    this.#listener.arrived(to, packet);
  }
}

const linkOf = (from: string, to: string): string => `${from}>${to}`;
