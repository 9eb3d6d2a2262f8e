/** Times work by the wall clock: medians, so that one interruption by others says nothing. */

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)] ?? Number.NaN;
}

const warmUps = 3;
const mostRounds = 31;
const budgetMs = 2_000;

/**
 * Median time of one call, in µs. `prepare` makes what a call uses up, and is not timed.
 *
 * @param perRound what one call's time is divided by
 */
export function timed<T>(work: (given: T) => unknown, prepare: () => T, perRound = 1): number {
  const times: number[] = [];
  const endMs = performance.now() + budgetMs;
  for (let round = 0; round < warmUps + mostRounds; round++) {
    const given = prepare();
    const startedMs = performance.now();
    work(given);
    const tookMs = performance.now() - startedMs;
    if (round >= warmUps || tookMs > budgetMs / 4) times.push((tookMs * 1_000) / perRound);
    if (times.length >= 3 && performance.now() > endMs) break;
  }
  return median(times);
}

/** Bytes of heap that `make`'s result holds, median of a few. Run with --expose-gc. */
export function heldBytes(make: () => object): number {
  return median([0, 1, 2, 3, 4].map(() => heldOnce(make)));
}

function heldOnce(make: () => object): number {
  const kept = new Array<object>(1);
  const before = usedBytes();
  kept[0] = make();
  const after = usedBytes();
  if (kept[0] === undefined) throw new Error('nothing was made');
  return after - before;
}

function usedBytes(): number {
  const collect = globalThis.gc;
  if (collect === undefined) throw new Error('run with node --expose-gc');
  // What the first round finalises, the second one frees.
  collect();
  collect();
  return process.memoryUsage().heapUsed;
}
