import { keptEvents, keptFailovers, surplus } from '../control/retention.js';
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
    await this.#trim('events/', keptEvents);
    for (const id of await this.#trim('failovers/', keptFailovers)) {
      const steps = await this.#store.list(`steps/${id}/`);
      await this.#remove(steps.entries.map(({ key }) => key));
    }
    if (this.#office !== undefined) this.#loop.triggerIn(everyMs);
  }

  /** @returns what followed the prefix in the keys that were deleted */
  async #trim(prefix: string, keep: number): Promise<readonly string[]> {
    const { entries } = await this.#store.list(prefix);
    const keys = surplus(entries, keep);
    await this.#remove(keys);
    return keys.map((key) => key.slice(prefix.length));
  }

  async #remove(keys: readonly string[]): Promise<void> {
    if (this.#office === undefined || keys.length === 0) return;
    await this.#store.transact({
      compare: [this.#office],
      write: keys.map((key) => ({ kind: 'delete', key })),
    });
  }
}
