/**
 * Random numbers from a seed (sfc32, Chris Doty-Humphrey's small fast counter): the same on every
 * machine. Each part of a run draws from a stream of its own, so that a change in one part leaves
 * the faults of a seed what they were.
 */
export class Random {
  #a: number;
  #b: number;
  #c: number;
  #counter = 1;

  constructor(seed: number, stream = '') {
    let hash = 0x811c9dc5;
    for (const letter of stream) hash = Math.imul(hash ^ letter.charCodeAt(0), 0x01000193);
    this.#a = seed >>> 0;
    this.#b = Math.floor(seed / 2 ** 32) >>> 0;
    this.#c = hash >>> 0;
    for (let warmUp = 0; warmUp < 12; warmUp++) this.#bits();
  }

  /** From 0 up to, not including, 1. */
  next(): number {
    return this.#bits() / 2 ** 32;
  }

  /** A whole number from 0 up to, not including, `bound`. */
  below(bound: number): number {
    return Math.floor(this.next() * bound);
  }

  between(least: number, bound: number): number {
    return least + this.next() * (bound - least);
  }

  chance(probability: number): boolean {
    return this.next() < probability;
  }

  pick<T>(from: readonly T[]): T {
    const picked = from[this.below(from.length)];
    if (picked === undefined) throw new RangeError('nothing to pick from');
    return picked;
  }

  /** Some of them, each with the given probability. */
  some<T>(from: readonly T[], probability: number): readonly T[] {
    return from.filter(() => this.chance(probability));
  }

  bytes(count: number): Buffer {
    return Buffer.from(Array.from({ length: count }, () => this.below(256)));
  }

  #bits(): number {
    const sum = (this.#a + this.#b + this.#counter) | 0;
    this.#counter = (this.#counter + 1) | 0;
    this.#a = this.#b ^ (this.#b >>> 9);
    this.#b = (this.#c + (this.#c << 3)) | 0;
    this.#c = (((this.#c << 21) | (this.#c >>> 11)) + sum) | 0;
    return sum >>> 0;
  }
}
