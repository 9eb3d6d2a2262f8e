/** Small deterministic generator (mulberry32): the same seed tells the same story. */
export class Random {
  #state: number;
  constructor(seed: number) {
    this.#state = seed >>> 0;
  }
  below(bound: number): number {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0;
    let mixed = this.#state;
    mixed = Math.imul(mixed ^ (mixed >>> 15), mixed | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return Math.floor((((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296) * bound);
  }
}

interface Item {
  readonly atUs: number;
  readonly order: number;
  readonly action: () => void;
}

/** Actions by time, then by order of scheduling: a binary heap. */
export class EventQueue {
  readonly #heap: Item[] = [];
  #order = 0;
  nowUs = 0;

  at(atUs: number, action: () => void): void {
    const item = { atUs: Math.max(atUs, this.nowUs), order: this.#order++, action };
    let place = this.#heap.push(item) - 1;
    while (place > 0) {
      const parent = (place - 1) >> 1;
      if (!this.#before(place, parent)) break;
      this.#swap(place, parent);
      place = parent;
    }
  }

  runUntil(endUs: number, enough: () => boolean): void {
    for (;;) {
      const first = this.#heap[0];
      if (first === undefined || first.atUs > endUs) break;
      this.#removeFirst();
      this.nowUs = first.atUs;
      first.action();
      if (enough()) return;
    }
    this.nowUs = endUs;
  }

  #removeFirst(): void {
    const last = this.#heap.pop();
    if (last === undefined || this.#heap.length === 0) return;
    this.#heap[0] = last;
    let place = 0;
    for (;;) {
      let least = place;
      for (const child of [2 * place + 1, 2 * place + 2]) {
        if (child < this.#heap.length && this.#before(child, least)) least = child;
      }
      if (least === place) return;
      this.#swap(place, least);
      place = least;
    }
  }

  #before(a: number, b: number): boolean {
    const one = this.#heap[a] as Item;
    const two = this.#heap[b] as Item;
    return one.atUs === two.atUs ? one.order < two.order : one.atUs < two.atUs;
  }

  #swap(a: number, b: number): void {
    const one = this.#heap[a] as Item;
    this.#heap[a] = this.#heap[b] as Item;
    this.#heap[b] = one;
  }
}

/** A clock that runs at a rate and from an offset of its own. */
export class Clock {
  readonly #queue: EventQueue;
  readonly #rate: number;
  readonly #offsetUs: number;

  constructor(queue: EventQueue, rate: number, offsetUs: number) {
    this.#queue = queue;
    this.#rate = rate;
    this.#offsetUs = offsetUs;
  }

  nowNs(): bigint {
    return BigInt(Math.floor((this.#queue.nowUs * this.#rate + this.#offsetUs) * 1_000));
  }
  nowMs(): number {
    return Number(this.nowNs()) / 1e6;
  }
  /** True µs from now until this clock shows `atNs`. */
  untilUs(atNs: bigint): number {
    return Math.max(0, Math.ceil(Number(atNs - this.nowNs()) / 1_000 / this.#rate));
  }
}
