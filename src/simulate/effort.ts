import type { SimProcess } from './process.js';
import type { Random } from './random.js';
import { msNs } from './time.js';

/** How the machine behaves towards an adapter at the moment. */
export interface Mood {
  /** Probability that a step fails. */
  failing: number;
  /** Steps take so many times longer. */
  slowness: number;
}

/** Steps of an adapter's work: each takes time, may fail, and ends when it is called off. */
export class Effort {
  readonly #process: SimProcess;
  readonly #random: Random;
  readonly #mood: Mood;

  constructor(process: SimProcess, random: Random, mood: Mood) {
    this.#process = process;
    this.#random = random;
    this.#mood = mood;
  }

  /** @throws {Error} what `signal` says, or that the step failed */
  async step(what: string, leastMs: number, mostMs: number, signal?: AbortSignal): Promise<void> {
    signal?.throwIfAborted();
    const durationMs = this.#random.between(leastMs, mostMs) * this.#mood.slowness;
    await this.#process.sleep(durationMs * msNs);
    signal?.throwIfAborted();
    if (this.#random.chance(this.#mood.failing)) throw new Error(`${what}: the kernel said no`);
  }
}
