/** How much history is kept, and which keys are beyond it. */

export const keptEvents = 1_000;
export const keptFailovers = 200;
/** Changes that people asked for: a year of one a day, and a burst. */
export const keptAudit = 1_000;
/** Deleted in one transaction: etcd takes 128 operations. */
export const mostDeletions = 100;

interface Kept {
  readonly key: string;
  readonly createRevision: number;
}

/** Keys to delete of a list, the oldest first, so that `keep` stay; in portions of one transaction. */
export function surplus(entries: readonly Kept[], keep: number): readonly (readonly string[])[] {
  const oldestFirst = [...entries].sort((a, b) => a.createRevision - b.createRevision);
  const beyond = oldestFirst.slice(0, Math.max(0, entries.length - keep)).map(({ key }) => key);
  return Array.from({ length: Math.ceil(beyond.length / mostDeletions) }, (_, portion) =>
    beyond.slice(portion * mostDeletions, (portion + 1) * mostDeletions),
  );
}
