import type { WorkloadFailures } from './types.js';

/** Who ran this long is healthy: its next end counts as the first. */
export const healthyMs = 60_000;

/** How often each workload ended in a row, with less than a healthy time between. */
export class FailureCounts {
  readonly #of = new Map<string, WorkloadFailures & { readonly atMs: number }>();
  readonly #listeners: ((personality: string) => void)[] = [];

  onFailure(listener: (personality: string) => void): void {
    this.#listeners.push(listener);
  }

  add(personality: string, last: string, nowMs: number, times = 1): void {
    const before = this.of(personality, nowMs)?.count ?? 0;
    this.#of.set(personality, { count: before + times, last, atMs: nowMs });
    for (const listener of this.#listeners) listener(personality);
  }

  /** Undefined: none, or it has been well for long enough. */
  of(personality: string, nowMs: number): WorkloadFailures | undefined {
    const found = this.#of.get(personality);
    if (found === undefined || nowMs - found.atMs > healthyMs) return undefined;
    return { count: found.count, last: found.last };
  }

  forget(personality: string): void {
    this.#of.delete(personality);
  }
}
