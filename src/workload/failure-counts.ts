import type { FailureListener, WorkloadFailures } from './types.js';

/** Who ran this long is healthy: its next end counts as the first. */
export const healthyMs = 60_000;

/** It goes into reports, events and reasons, which every agent gets. */
const longestLastChars = 300;

function oneLine(text: string): string {
  const plain = text.replace(/\p{Cc}+/gu, ' ').trim();
  return plain.length <= longestLastChars ? plain : `${plain.slice(0, longestLastChars)}…`;
}

/** How often each workload ended in a row, with less than a healthy time between. */
export class FailureCounts {
  readonly #of = new Map<string, WorkloadFailures & { readonly atMs: number }>();
  readonly #listeners: FailureListener[] = [];

  onFailure(listener: FailureListener): void {
    this.#listeners.push(listener);
  }

  /** @param sinceMs when it began to fail: a start may take its time over it */
  add(
    personality: string,
    last: string,
    nowMs: number,
    { times = 1, sinceMs = nowMs }: { readonly times?: number; readonly sinceMs?: number } = {},
  ): void {
    const before = this.of(personality, sinceMs)?.count ?? 0;
    this.#of.set(personality, { count: before + times, last: oneLine(last), atMs: nowMs });
    for (const listener of this.#listeners) listener(personality, times);
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

/**
 * Each would fill the history with nothing else: the first, and whenever there are twice as many. `count` with the
 * last `times`, since of a unit several come at once.
 */
export function isWorthTelling(count: number, times: number): boolean {
  return Math.floor(Math.log2(count)) > Math.log2(count - times);
}
