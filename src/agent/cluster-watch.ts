import { type View, ViewKeeper } from '../control/view.js';
import type { Operation, Store } from '../store/types.js';

/** Keeps this agent's view of the store current and tells everybody of each change. */
export class ClusterWatch {
  readonly #store: Store;
  readonly #keeper = new ViewKeeper();
  readonly #listeners = new Set<(view: View) => void>();
  #known = false;

  constructor(store: Store) {
    this.#store = store;
  }

  /** What the store held when it was last heard of. Empty before the first snapshot. */
  get view(): View {
    return this.#keeper.view;
  }

  /** Whether a snapshot has arrived: before that, absence means nothing. */
  get known(): boolean {
    return this.#known;
  }

  start(signal: AbortSignal): void {
    this.#store.watch(
      '',
      {
        snapshot: (snapshot) => {
          this.#keeper.reset(snapshot.entries, snapshot.revision);
          this.#known = true;
          this.#tell();
        },
        changes: (changes) => {
          if (this.#keeper.apply(changes)) this.#tell();
        },
      },
      signal,
    );
  }

  onChange(listener: (view: View) => void): void {
    this.#listeners.add(listener);
  }

  /** A transaction of our own was carried out: nobody here need wait until the watch says so. */
  learn(writes: readonly Operation[], revision: number): void {
    if (!this.#known) return;
    this.#keeper.learn(
      writes.flatMap((write) =>
        write.kind === 'put' ? [{ key: write.key, value: write.value, modRevision: revision }] : [],
      ),
    );
    this.#tell();
  }

  /** Resolves when the condition holds, looked at now and after each change; or rejects. */
  until(condition: () => boolean, signal: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      const end = () => {
        this.#listeners.delete(look);
        signal.removeEventListener('abort', abort);
      };
      const look = () => {
        if (!condition()) return;
        end();
        resolve();
      };
      const abort = () => {
        end();
        reject(signal.reason instanceof Error ? signal.reason : new Error('called off'));
      };
      if (signal.aborted) return abort();
      signal.addEventListener('abort', abort);
      this.#listeners.add(look);
      look();
    });
  }

  #tell(): void {
    for (const listener of this.#listeners) listener(this.view);
  }
}
