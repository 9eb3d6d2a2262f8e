import { keptAudit, keptEvents, keptFailovers, surplus } from '../control/retention.js';
import type { Compare, Store } from '../store/types.js';
import { Loop, type LoopParts } from './loop.js';

/** Often enough for a burst of a thousand events to be gone in ten minutes. */
const everyMs = 60_000;

/**
 * Keeps the history in the store within its bound: only the leader, only while it is in office. Votes
 * and retired marks are no history: they are never deleted (rule 10 of the lease protocol).
 */
export class Housekeeping {
  readonly #store: Store;
  readonly #loop: Loop;
  #office: Compare | undefined;

  constructor(store: Store, parts: LoopParts) {
    this.#store = store;
    this.#loop = new Loop('housekeeping', parts, () => this.#tidy());
  }

  begin(office: Compare): void {
    this.#office = office;
    this.#loop.trigger();
  }

  end(): void {
    this.#office = undefined;
  }

  async stop(): Promise<void> {
    await this.#loop.stop();
  }

  async #tidy(): Promise<void> {
    await this.#trim('events/', keptEvents, async () => undefined);
    await this.#trim('audit/', keptAudit, async () => undefined);
    await this.#trim('failovers/', keptFailovers, (id) => this.#removeSteps(id));
    if (this.#office !== undefined) this.#loop.triggerIn(everyMs);
  }

  /** All that is beyond the bound, however much came since the last round. */
  async #trim(prefix: string, keep: number, first: (name: string) => Promise<void>): Promise<void> {
    const { entries } = await this.#store.list(prefix);
    for (const keys of surplus(entries, keep)) {
      for (const key of keys) await first(key.slice(prefix.length));
      await this.#remove(keys);
    }
  }

  /** Before the record itself: once that is gone, nobody would look for them. */
  async #removeSteps(failover: string): Promise<void> {
    const { entries } = await this.#store.list(`steps/${failover}/`);
    await this.#remove(entries.map(({ key }) => key));
  }

  async #remove(keys: readonly string[]): Promise<void> {
    if (this.#office === undefined || keys.length === 0) return;
    await this.#store.transact({
      compare: [this.#office],
      write: keys.map((key) => ({ kind: 'delete', key })),
    });
  }
}
