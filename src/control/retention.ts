/** How much history is kept, and which keys are beyond it. */

export const keptEvents = 1_000;
export const keptFailovers = 200;
/** Deleted in one transaction; the rest goes with the next round. */
export const mostDeletions = 100;

interface Kept {
  readonly key: string;
  readonly createRevision: number;
}

/** Keys to delete of a list, the oldest first, so that `keep` stay; at most `mostDeletions`. */
export function surplus(entries: readonly Kept[], keep: number): readonly string[] {
  const oldestFirst = [...entries].sort((a, b) => a.createRevision - b.createRevision);
  return oldestFirst
    .slice(0, Math.max(0, entries.length - keep))
    .slice(0, mostDeletions)
    .map(({ key }) => key);
}
