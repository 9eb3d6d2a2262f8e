import { configOf, type NewsKind, type View, ViewKeeper } from '../control/view.js';
import { messageOf } from '../errors.js';
import type { Operation, Store, Transaction, TransactionResult } from '../store/types.js';
import type { Log } from './loop.js';

/** Keeps this agent's view of the store current and tells everybody of each change. */
export class ClusterWatch {
  readonly #store: Store;
  readonly #log: Pick<Log, 'error'> | undefined;
  readonly #keeper = new ViewKeeper();
  readonly #listeners = new Map<(view: View) => void, readonly NewsKind[] | undefined>();
  #known = false;

  /** @param log where a listener's failure goes; without one it is thrown at whoever told the news */
  constructor(store: Store, log?: Pick<Log, 'error'>) {
    this.#store = store;
    this.#log = log;
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
          this.#tell(this.#keeper.apply(changes));
        },
      },
      signal,
    );
  }

  /**
   * @param of kinds of news that mean something to the listener; all, unless given. Every agent hears
   * of every step of a takeover: looking at everything each time would cost more than the takeover.
   */
  onChange(listener: (view: View) => void, of?: readonly NewsKind[]): void {
    this.#listeners.set(listener, of);
  }

  /** A transaction of our own was carried out: nobody here need wait until the watch says so. */
  learn(writes: readonly Operation[], revision: number): void {
    if (!this.#known) return;
    const learnt = this.#keeper.learn(
      writes.flatMap((write) =>
        write.kind === 'put' ? [{ key: write.key, value: write.value, modRevision: revision }] : [],
      ),
    );
    this.#tell(learnt);
  }

  /** Either way: of one that was not carried out, what the store holds instead is known now. */
  learnResult({ write }: Transaction, { done, revision, current }: TransactionResult): void {
    if (done) this.learn(write, revision);
    for (const { key, value, modRevision } of current) {
      this.learn([{ kind: 'put', key, value }], modRevision);
    }
  }

  /** Resolves when the condition holds, looked at now and after each change; or rejects. */
  until(condition: () => boolean, signal: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      const end = () => {
        this.#listeners.delete(look);
        signal.removeEventListener('abort', abort);
      };
      const look = () => {
        try {
          if (!condition()) return;
        } catch (thrown) {
          end();
          reject(thrown);
          return;
        }
        end();
        resolve();
      };
      const abort = () => {
        end();
        reject(signal.reason instanceof Error ? signal.reason : new Error('called off'));
      };
      if (signal.aborted) return abort();
      signal.addEventListener('abort', abort);
      this.#listeners.set(look, undefined);
      look();
    });
  }

  /** Before anybody else hears of it: an office is stood for with the patience that its cluster needs. */
  #suitStore(): void {
    const timing = configOf(this.view)?.timing;
    if (timing !== undefined) this.#store.suit(timing.leaseMs);
  }

  /** One that fails (over what some other version wrote, say) keeps no other from hearing the news. */
  #tell(news?: ReadonlySet<NewsKind>): void {
    if (news?.size === 0) return;
    if (news === undefined || news.has('config')) this.#suitStore();
    for (const [listener, of] of [...this.#listeners]) {
      if (of !== undefined && news !== undefined && !of.some((kind) => news.has(kind))) continue;
      try {
        listener(this.view);
      } catch (thrown) {
        if (this.#log === undefined) throw thrown;
        this.#log.error({ error: thrown }, `news of the store: ${messageOf(thrown)}`);
      }
    }
  }
}
