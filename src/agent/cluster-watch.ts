import { type View, ViewKeeper } from '../control/view.js';
import type { Store } from '../store/types.js';

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
          this.#keeper.reset(snapshot.entries);
          this.#known = true;
          this.#tell();
        },
        changes: (changes) => {
          this.#keeper.apply(changes);
          this.#tell();
        },
      },
      signal,
    );
  }

  onChange(listener: (view: View) => void): void {
    this.#listeners.add(listener);
  }

  #tell(): void {
    for (const listener of this.#listeners) listener(this.view);
  }
}
