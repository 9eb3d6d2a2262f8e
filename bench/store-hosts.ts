import { ViewKeeper } from '../src/control/view.js';
import { EtcdStore } from '../src/store/etcd.js';

/**
 * A part of the simulated hosts, in a process of their own: each has its connection to the store and
 * its view of all of it, kept current as an agent's is. Arguments: endpoints, prefix, number of hosts.
 *
 * Tells `ready` when all know the store; asked for a revision, tells when each of them had it
 * (CLOCK_MONOTONIC, which processes share, in ms).
 */
export interface Seen {
  readonly revision: number;
  readonly atMs: readonly number[];
}

const [endpoints = '', prefix = '', count = '0'] = process.argv.slice(2);
/** Hosts that are connecting at any time: all at once would wait for two processors, not for etcd. */
const atOnce = 4;
const mostStarts = 20;
/**
 * They ask the store for signs of life as rarely as with a lease of ten seconds: as often as with a short one, a
 * thousand on two processors do nothing else, and take members for dead that only wait for a processor.
 */
const asPatientMs = 10_000;
const never = new AbortController().signal;
const nowMs = () => Number(process.hrtime.bigint()) / 1e6;

/** An agent whose store does not answer in time ends, and its unit starts it anew. */
async function connected(): Promise<EtcdStore> {
  for (let left = mostStarts; ; left -= 1) {
    const store = new EtcdStore({ endpoints: endpoints.split(','), prefix });
    try {
      await store.start(never);
      store.suit(asPatientMs);
      return store;
    } catch (thrown) {
      await store.stop();
      if (left === 1) throw thrown;
    }
  }
}

/** When one host had which revision; older ones than the last asked for are of no use. */
class Host {
  readonly #keeper = new ViewKeeper();
  readonly #had: { readonly revision: number; readonly atMs: number }[] = [];
  #waiting: { readonly revision: number; resolve(atMs: number): void } | undefined;

  async start(): Promise<void> {
    const store = await connected();
    await new Promise<void>((resolve) => {
      store.watch(
        '',
        {
          snapshot: ({ entries, revision }) => {
            this.#keeper.reset(entries, revision);
            this.#note(revision);
            resolve();
          },
          changes: (changes, revision) => {
            this.#keeper.apply(changes);
            this.#note(revision);
          },
        },
        never,
      );
    });
  }

  had(revision: number): Promise<number> {
    const found = this.#had.find((one) => one.revision >= revision);
    this.#had.length = 0;
    if (found !== undefined) return Promise.resolve(found.atMs);
    return new Promise((resolve) => {
      this.#waiting = { revision, resolve };
    });
  }

  #note(revision: number): void {
    const atMs = nowMs();
    if (this.#waiting !== undefined && revision >= this.#waiting.revision) {
      this.#waiting.resolve(atMs);
      this.#waiting = undefined;
    }
    this.#had.push({ revision, atMs });
  }
}

const hosts = Array.from({ length: Number(count) }, () => new Host());
process.on('message', (revision: number) => {
  void Promise.all(hosts.map((host) => host.had(revision))).then((atMs) => {
    process.send?.({ revision, atMs } satisfies Seen);
  });
});
process.on('disconnect', () => process.exit(0));
const waiting = [...hosts];
const joining = Array.from({ length: atOnce }, async () => {
  for (let host = waiting.pop(); host !== undefined; host = waiting.pop()) await host.start();
});
await Promise.all(joining);
process.send?.('ready');
