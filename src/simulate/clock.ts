import type { VirtualTime } from './time.js';

/**
 * A host's boot clock: starts at an offset nobody else knows and runs a little fast or slow. The
 * rate may change; the clock never jumps or goes back.
 */
export class HostClock {
  readonly #time: VirtualTime;
  #rate: number;
  #sinceNs: number;
  #readNs: number;

  constructor(time: VirtualTime, rate: number, startNs: number) {
    this.#time = time;
    this.#rate = rate;
    this.#sinceNs = time.nowNs;
    this.#readNs = startNs;
  }

  get rate(): number {
    return this.#rate;
  }

  nowNs(): number {
    return Math.floor(this.#exactNs());
  }

  bootNs(): bigint {
    return BigInt(this.nowNs());
  }

  bootMs(): number {
    return this.nowNs() / 1e6;
  }

  setRate(rate: number): void {
    this.#readNs = this.#exactNs();
    this.#sinceNs = this.#time.nowNs;
    this.#rate = rate;
  }

  /** Restarts with the machine. */
  reset(startNs: number): void {
    this.#readNs = startNs;
    this.#sinceNs = this.#time.nowNs;
  }

  /** How long, in true time, this clock takes for so much of its own. */
  trueNs(ownNs: number): number {
    return ownNs / this.#rate;
  }

  /** First true instant at which this clock, at its present rate, reads that or more. */
  whenNs(readNs: number): number {
    let atNs = Math.ceil(this.#sinceNs + (readNs - this.#readNs) / this.#rate);
    while (this.#readAt(atNs) < readNs) atNs++;
    return atNs;
  }

  #exactNs(): number {
    return this.#readNs + (this.#time.nowNs - this.#sinceNs) * this.#rate;
  }

  #readAt(trueNs: number): number {
    return Math.floor(this.#readNs + (trueNs - this.#sinceNs) * this.#rate);
  }
}
