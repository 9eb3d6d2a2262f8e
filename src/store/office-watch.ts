import type { Seat } from './campaign.js';
import type { Change, Store } from './types.js';

/** Tells what an office's key holds, now and after each change. */
export function watchSeat(
  store: Store,
  key: string,
  tell: (seat: Seat) => void,
  signal: AbortSignal,
): void {
  store.watch(
    key,
    {
      snapshot: ({ entries, revision }) => {
        const taken = entries.find((entry) => entry.key === key);
        tell({ revision, takenAt: taken?.modRevision });
      },
      changes: (changes) => {
        // The prefix also fits keys that merely begin like this one.
        for (const change of changes.filter((found) => keyOf(found) === key))
          tell(seatAfter(change));
      },
    },
    signal,
  );
}

function keyOf(change: Change): string {
  return change.kind === 'put' ? change.entry.key : change.key;
}

function seatAfter(change: Change): Seat {
  return change.kind === 'put'
    ? { revision: change.entry.modRevision, takenAt: change.entry.modRevision }
    : { revision: change.revision, takenAt: undefined };
}
