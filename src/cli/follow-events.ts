import type { EventRecord } from '../control/records.js';
import type { Entry, Store } from '../store/types.js';

/**
 * Tells each event once, in the order of their writing, until the signal aborts. After a gap in the
 * watch the whole list comes again; which of it is new, the store's revision says. Not the key: its
 * time is the writer's own clock, and of two hosts either may be the later.
 */
export function followEvents(
  store: Pick<Store, 'watch'>,
  tell: (event: EventRecord) => void,
  signal: AbortSignal,
): Promise<void> {
  let last = 0;
  const take = (entries: readonly Entry[]) => {
    const fresh = entries
      .filter(({ createRevision }) => createRevision > last)
      .sort((a, b) => a.createRevision - b.createRevision);
    for (const { value } of fresh) {
      const event = eventOf(value);
      if (event !== undefined) tell(event);
    }
    last = Math.max(last, ...fresh.map(({ createRevision }) => createRevision));
  };
  store.watch(
    'events/',
    {
      snapshot: ({ entries }) => take(entries),
      changes: (changes) =>
        take(changes.flatMap((change) => (change.kind === 'put' ? [change.entry] : []))),
    },
    signal,
  );
  return new Promise((resolve) => {
    if (signal.aborted) resolve();
    signal.addEventListener('abort', () => resolve(), { once: true });
  });
}

/** Undefined for what is no event: somebody else's key must not end the list. */
export function eventOf(value: string): EventRecord | undefined {
  try {
    const event = JSON.parse(value) as EventRecord;
    return typeof event.atUnixMs === 'number' ? event : undefined;
  } catch {
    return undefined;
  }
}
