import { setMaxListeners } from 'node:events';
import { Campaign, type OfficePort, officeKey } from './campaign.js';
import { type StoreLog, silent } from './log.js';
import { MemoryBackend } from './memory-backend.js';
import { MemoryWatch } from './memory-watch.js';
import { watchSeat } from './office-watch.js';
import { leastPatience, patienceFor } from './patience.js';
import { abortReason, unreachable } from './refusals.js';
import { onAbort } from './timers.js';
import type {
  CallOptions,
  CampaignListener,
  Entry,
  Snapshot,
  Store,
  Transaction,
  TransactionResult,
  WatchListener,
} from './types.js';

export { type BackendOptions, MemoryBackend } from './memory-backend.js';

export interface MemoryStoreOptions {
  /** Whose handle this is: what `MemoryBackend.cut` names. Default 'memory'. */
  readonly identity?: string;
  readonly log?: StoreLog;
  /** Names of leases; a simulator hands in its own, so that a seed gives the same run. */
  readonly newLease?: () => bigint;
}

/** A handle onto a shared MemoryBackend, as one process has it onto etcd. */
export class MemoryStore implements Store {
  readonly #backend: MemoryBackend;
  readonly #identity: string;
  readonly #options: MemoryStoreOptions;
  readonly #running = new AbortController();
  readonly #campaigns = new Set<Promise<void>>();
  #patience = leastPatience;

  constructor(backend: MemoryBackend = new MemoryBackend(), options: MemoryStoreOptions = {}) {
    this.#backend = backend;
    this.#identity = options.identity ?? 'memory';
    this.#options = options;
    // One listener for each call under way: many are no leak here.
    setMaxListeners(0, this.#running.signal);
  }

  async start(signal: AbortSignal): Promise<void> {
    await this.#call('cannot reach', 'the store', () => undefined, { signal });
  }

  async stop(): Promise<void> {
    this.#running.abort(new Error('the store was stopped'));
    await Promise.all(this.#campaigns);
  }

  suit(leaseMs: number): void {
    this.#patience = patienceFor(leaseMs);
  }

  get(key: string, options?: CallOptions): Promise<Entry | undefined> {
    return this.#call('cannot read', key, () => this.#backend.get(key), options);
  }

  list(prefix: string, options?: CallOptions): Promise<Snapshot> {
    return this.#call('cannot list', prefix, () => this.#backend.list(prefix), options);
  }

  transact(transaction: Transaction, options?: CallOptions): Promise<TransactionResult> {
    const object = transaction.write[0]?.key ?? transaction.compare[0]?.key ?? '(nothing)';
    return this.#call('cannot write', object, () => this.#backend.transact(transaction), options);
  }

  watch(prefix: string, listener: WatchListener, signal: AbortSignal): void {
    const ended = AbortSignal.any([signal, this.#running.signal]);
    new MemoryWatch(this.#backend, this.#identity, prefix, listener, ended).connect();
  }

  campaign(
    office: string,
    candidate: string,
    listener: CampaignListener,
    signal: AbortSignal,
  ): void {
    const { log = silent, newLease } = this.#options;
    const campaign = new Campaign({
      port: this.#port(),
      timers: this.#backend.timers,
      patience: () => this.#patience.office,
      log,
      office,
      candidate,
      listener,
      ...(newLease === undefined ? {} : { newLease }),
    });
    const run = campaign.run(AbortSignal.any([signal, this.#running.signal]));
    this.#campaigns.add(run);
    void run.finally(() => this.#campaigns.delete(run));
  }

  async holder(office: string, options?: CallOptions): Promise<string | undefined> {
    return (await this.get(officeKey(office), options))?.value;
  }

  #port(): OfficePort {
    const backend = this.#backend;
    const nowMs = () => backend.timers.nowMs();
    const ask = <T>(action: string, work: () => T, budgetMs = this.#patience.budgetMs) =>
      this.#send(action, 'the office lease', work, budgetMs);
    return {
      grant: async (lease, ttlSeconds) => {
        const sentMs = nowMs();
        await ask('cannot grant', () => backend.grant(lease, ttlSeconds * 1000));
        return { sentMs, ttlMs: ttlSeconds * 1000 };
      },
      renew: async (lease, budgetMs) => {
        const sentMs = nowMs();
        const ttlMs = await ask('cannot renew', () => backend.renew(lease), budgetMs);
        return { sentMs, ttlMs };
      },
      revoke: (lease) => ask('cannot revoke', () => backend.revoke(lease), 500),
      claim: (key, value, lease) => ask('cannot claim', () => backend.claim(key, value, lease)),
      watchSeat: (key, tell, signal) => watchSeat(this, key, tell, signal),
    };
  }

  #call<T>(action: string, object: string, work: () => T, options: CallOptions = {}): Promise<T> {
    const { budgetMs = this.#patience.budgetMs, signal } = options;
    const stopped = this.#running.signal;
    const signals = signal === undefined ? [stopped] : [signal, stopped];
    return this.#send(action, object, work, budgetMs, signals);
  }

  /**
   * One request and its answer. Either may be lost: then it is US_STORE_UNREACHABLE at the end of
   * the budget, and the work may have been done.
   */
  #send<T>(
    action: string,
    object: string,
    work: () => T,
    budgetMs: number,
    signals: readonly AbortSignal[] = [],
  ): Promise<T> {
    const backend = this.#backend;
    const identity = this.#identity;
    return new Promise((resolve, reject) => {
      const over = signals.find(({ aborted }) => aborted);
      if (over !== undefined) return reject(abortReason(over));
      let open = true;
      let cancelHeal: () => void = () => {};
      const settle = (finish: () => void) => {
        if (!open) return;
        open = false;
        cancelBudget();
        cancelHeal();
        stopListening();
        finish();
      };
      const stopListening = onAbort(signals, (signal) => settle(() => reject(abortReason(signal))));
      const cancelBudget = backend.timers.after(budgetMs, () =>
        settle(() => reject(unreachable(action, object, `no answer within ${budgetMs} ms`))),
      );
      const send = () => backend.deliver(request, identity);
      const request = () => {
        if (!open) return;
        if (!backend.reaches(identity)) {
          cancelHeal = backend.onHeal(identity, send);
          return;
        }
        try {
          const answer = work();
          backend.deliver(() => {
            if (backend.reaches(identity)) settle(() => resolve(answer));
          }, identity);
        } catch (thrown) {
          settle(() => reject(thrown));
        }
      };
      send();
    });
  }
}
