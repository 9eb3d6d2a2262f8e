import type { EventRecord } from '../../control/records.js';
import { type ClusterOptions, withCluster } from '../cluster.js';

export interface EventsOptions extends ClusterOptions {
  readonly json: boolean;
  readonly follow: boolean;
}

/** What happened and why, oldest first; with `follow` until interrupted. */
export async function run(options: EventsOptions): Promise<number> {
  return withCluster(options, async ({ store }) => {
    const print = (value: string) => {
      const event = JSON.parse(value) as EventRecord;
      process.stdout.write(`${options.json ? JSON.stringify(event) : line(event)}\n`);
    };
    if (!options.follow) {
      for (const { value } of (await store.list('events/')).entries) print(value);
      return 0;
    }
    // After a gap in the watch the whole list comes again: tell each event once.
    let last = '';
    const once = (key: string, value: string) => {
      if (key <= last) return;
      last = key;
      print(value);
    };
    store.watch(
      'events/',
      {
        snapshot: ({ entries }) => {
          for (const { key, value } of entries) once(key, value);
        },
        changes: (changes) => {
          for (const change of changes) {
            if (change.kind === 'put') once(change.entry.key, change.entry.value);
          }
        },
      },
      options.signal,
    );
    await new Promise<void>((resolve) => {
      options.signal.addEventListener('abort', () => resolve(), { once: true });
    });
    return 0;
  });
}

function line({ atUnixMs, host, kind, subject, text }: EventRecord): string {
  return `${new Date(atUnixMs).toISOString()}  ${host.padEnd(8)}  ${kind.padEnd(10)}  ${subject}: ${text}`;
}
