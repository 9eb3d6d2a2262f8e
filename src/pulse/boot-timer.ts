import { bootNs } from '../ffi/clock.js';

/**
 * Calls back at an instant of the boot clock. Node's own timers run on the monotonic clock in whole
 * ms and may fire early; so each wake looks at the boot clock and sleeps again for what is left.
 */
export class BootTimer {
  readonly #due: (nowNs: bigint, lateNs: bigint) => void;
  #timer: NodeJS.Timeout | undefined;
  #atNs: bigint | undefined;

  constructor(due: (nowNs: bigint, lateNs: bigint) => void) {
    this.#due = due;
  }

  /** Wakes at `atNs`, or earlier if that was asked before; each call back needs a new `arm`. */
  arm(atNs: bigint): void {
    if (this.#atNs !== undefined && this.#atNs <= atNs) return;
    this.#atNs = atNs;
    this.#sleep(bootNs());
  }

  stop(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#atNs = undefined;
  }

  #sleep(nowNs: bigint): void {
    if (this.#atNs === undefined) return;
    const leftMs = Number(this.#atNs - nowNs) / 1e6;
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#wake(), Math.min(60_000, Math.max(1, Math.ceil(leftMs))));
  }

  #wake(): void {
    const nowNs = bootNs();
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
