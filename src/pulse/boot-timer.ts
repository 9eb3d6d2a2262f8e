import type { Timers } from '../store/timers.js';

/** Told the time and how late it is. */
export type Due = (nowNs: bigint, lateNs: bigint) => void;

/**
 * Calls back at an instant of the boot clock. Node's own timers run on the monotonic clock in whole
 * ms and may fire early; so each wake looks at the boot clock and sleeps again for what is left.
 */
export class BootTimer {
  readonly #due: Due;
  readonly #bootNs: () => bigint;
  readonly #timers: Timers;
  #cancel: () => void = () => {};
  #atNs: bigint | undefined;

  constructor(due: Due, bootNs: () => bigint, timers: Timers) {
    this.#due = due;
    this.#bootNs = bootNs;
    this.#timers = timers;
  }

  /** Wakes at `atNs`, or earlier if that was asked before; each call back needs a new `arm`. */
  arm(atNs: bigint): void {
    if (this.#atNs !== undefined && this.#atNs <= atNs) return;
    this.#atNs = atNs;
    this.#sleep(this.#bootNs());
  }

  stop(): void {
    this.#cancel();
    this.#atNs = undefined;
  }

  #sleep(nowNs: bigint): void {
    if (this.#atNs === undefined) return;
    const leftMs = Number(this.#atNs - nowNs) / 1e6;
    this.#cancel();
    const delayMs = Math.min(60_000, Math.max(1, Math.ceil(leftMs)));
    this.#cancel = this.#timers.after(delayMs, () => this.#wake());
  }

  #wake(): void {
    const nowNs = this.#bootNs();
    if (this.#atNs === undefined) return;
    if (nowNs < this.#atNs) {
      this.#sleep(nowNs);
      return;
    }
    const lateNs = nowNs - this.#atNs;
    this.#atNs = undefined;
    this.#due(nowNs, lateNs);
  }
}
