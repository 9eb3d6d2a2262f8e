import type { Timers } from '../../src/store/timers.js';

/** Timers that stand still until told. */
export class VirtualTimers implements Timers {
  #nowMs = 0;
  readonly #waiting = new Set<{ readonly atMs: number; readonly action: () => void }>();

  nowMs(): number {
    return this.#nowMs;
  }

  after(delayMs: number, action: () => void): () => void {
    const waiting = { atMs: this.#nowMs + Math.max(0, delayMs), action };
    this.#waiting.add(waiting);
    return () => this.#waiting.delete(waiting);
  }

  /** Lets time pass; whatever is due happens in its order, with all that follows from it. */
  async runMs(durationMs: number): Promise<void> {
    const endMs = this.#nowMs + durationMs;
    await settle();
    for (;;) {
      const [next] = [...this.#waiting].sort((a, b) => a.atMs - b.atMs);
      if (next === undefined || next.atMs > endMs) break;
      this.#waiting.delete(next);
      this.#nowMs = next.atMs;
      next.action();
      await settle();
    }
    this.#nowMs = endMs;
  }
}

/** Until no promise has anything left to do: setImmediate comes after all microtasks. */
function settle(): Promise<void> {
  return new Promise((resolve) => {
    setImmediate(resolve);
  });
}
