import type { EventQueue, Random } from './world-parts.js';

/** What the network does to packets of one direction between host and one controller. */
export interface LinkState {
  readonly lossPercent: number;
  readonly delayUs: readonly [number, number];
  readonly duplicatePercent: number;
}

const good: LinkState = { lossPercent: 0, delayUs: [0, 2_000], duplicatePercent: 0 };

/** Loses, delays, duplicates and replays what a host and its controllers send each other. */
export class WorldNetwork {
  readonly #random: Random;
  readonly #queue: EventQueue;
  readonly #up: LinkState[];
  readonly #down: LinkState[];
  /** Everything ever sent, for replays. */
  readonly #captured: { readonly deliver: () => void; readonly heartbeat: boolean }[] = [];

  constructor(controllers: number, random: Random, queue: EventQueue) {
    this.#random = random;
    this.#queue = queue;
    this.#up = Array.from({ length: controllers }, () => good);
    this.#down = [...this.#up];
  }

  setLink(index: number, up: LinkState, down: LinkState): void {
    this.#up[index] = up;
    this.#down[index] = down;
  }

  toController(index: number, deliver: () => void): void {
    this.#captured.push({ deliver, heartbeat: true });
    this.#transmit(this.#up[index] ?? good, deliver);
  }

  toHost(index: number, deliver: () => void): void {
    this.#captured.push({ deliver, heartbeat: false });
    this.#transmit(this.#down[index] ?? good, deliver);
  }

  replay(count: number, only: 'any' | 'heartbeats'): void {
    for (let done = 0; done < count && this.#captured.length > 0; done++) {
      const packet = this.#captured[this.#random.below(this.#captured.length)];
      if (packet === undefined || (only === 'heartbeats' && !packet.heartbeat)) continue;
      packet.deliver();
    }
  }

  #transmit(link: LinkState, deliver: () => void): void {
    if (this.#random.below(100) < link.lossPercent) return;
    const copies = this.#random.below(100) < link.duplicatePercent ? 2 : 1;
    for (let copy = 0; copy < copies; copy++) {
      const [least, most] = link.delayUs;
      this.#queue.at(this.#queue.nowUs + least + this.#random.below(most - least + 1), deliver);
    }
  }
}
