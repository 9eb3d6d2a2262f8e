import type { EventRecord } from '../../control/records.js';
import { type ClusterOptions, withCluster } from '../cluster.js';
import { colour } from '../colour.js';
import { eventOf, followEvents } from '../follow-events.js';

export interface EventsOptions extends ClusterOptions {
  readonly json: boolean;
  readonly follow: boolean;
}

/** What happened and why, oldest first; with `follow` until interrupted. */
export async function run(options: EventsOptions): Promise<number> {
  return withCluster(options, async ({ store }) => {
    const print = (event: EventRecord) => {
      process.stdout.write(`${options.json ? JSON.stringify(event) : line(event)}\n`);
    };
    if (options.follow) {
      await followEvents(store, print, options.signal);
      return 0;
    }
    for (const { value } of (await store.list('events/')).entries) {
      const event = eventOf(value);
      if (event !== undefined) print(event);
    }
    return 0;
  });
}

/** What a person looks for first in a long list. */
const notable: readonly string[] = ['failover', 'vote', 'shut-out', 'hold', 'verify', 'power'];

export function line({ atUnixMs, host, kind, subject, text }: EventRecord): string {
  const shown = kind.padEnd(10);
  return `${colour.dim(new Date(atUnixMs).toISOString())}  ${host.padEnd(8)}  ${notable.includes(kind) ? colour.yellow(shown) : shown}  ${subject}: ${text}`;
}
