import { checkTransaction } from './refusals.js';
import { systemTimers, type Timers } from './timers.js';
import type { Change, Compare, Entry, Snapshot, Transaction, TransactionResult } from './types.js';

/** Told of one committed transaction's changes below its prefix. */
export interface BackendWatcher {
  readonly prefix: string;
  changed(changes: readonly Change[], revision: number): void;
}

interface Held extends Entry {
  readonly lease: bigint | undefined;
}

export interface BackendOptions {
  readonly timers?: Timers;
  /**
   * Carries each message between a handle and the backend, in either direction. By default a
   * microtask; a simulator delays it. Messages may overtake each other; a watch stays in order.
   */
  readonly deliver?: (message: () => void, identity: string) => void;
}

/**
 * The store that MemoryStore handles share: revisions, watchers and leases as etcd has them. All
 * steps are synchronous, so they are linearizable; same calls, same timers, same result.
 */
export class MemoryBackend {
  readonly timers: Timers;
  readonly deliver: (message: () => void, identity: string) => void;
  readonly #entries = new Map<string, Held>();
  readonly #watchers = new Set<BackendWatcher>();
  readonly #leases = new Map<bigint, { readonly ttlMs: number; cancel: () => void }>();
  readonly #cut = new Set<string>();
  readonly #healed = new Map<string, Set<() => void>>();
  /** An empty etcd is at revision 1. */
  #revision = 1;

  constructor(options: BackendOptions = {}) {
    this.timers = options.timers ?? systemTimers();
    this.deliver = options.deliver ?? ((message) => queueMicrotask(message));
  }

  /** Loses every message to and from the handle of this identity until `heal`. */
  cut(identity: string): void {
    this.#cut.add(identity);
  }

  heal(identity: string): void {
    if (!this.#cut.delete(identity)) return;
    const waiting = this.#healed.get(identity) ?? new Set();
    this.#healed.delete(identity);
    for (const action of waiting) action();
  }

  reaches(identity: string): boolean {
    return !this.#cut.has(identity);
  }

  /** Calls `action` once, at the next `heal` of this identity. Returns what calls it off. */
  onHeal(identity: string, action: () => void): () => void {
    const waiting = this.#healed.get(identity) ?? new Set();
    this.#healed.set(identity, waiting.add(action));
    return () => waiting.delete(action);
  }

  get(key: string): Entry | undefined {
    const held = this.#entries.get(key);
    return held === undefined ? undefined : entryOf(held);
  }

  list(prefix: string): Snapshot {
    const entries = [...this.#entries.values()]
      .filter(({ key }) => key.startsWith(prefix))
      .map(entryOf)
      .sort((a, b) => Buffer.compare(Buffer.from(a.key), Buffer.from(b.key)));
    return { entries, revision: this.#revision };
  }

  transact(transaction: Transaction, lease?: bigint): TransactionResult {
    checkTransaction(transaction);
    if (!transaction.compare.every((compare) => this.#holds(compare))) {
      const keys = new Set(transaction.compare.map(({ key }) => key));
      const current = [...keys].flatMap((key) => this.get(key) ?? []);
      return { done: false, revision: this.#revision, current };
    }
    this.#write(transaction, lease);
    return { done: true, revision: this.#revision, current: [] };
  }

  watch(watcher: BackendWatcher): () => void {
    this.#watchers.add(watcher);
    return () => this.#watchers.delete(watcher);
  }

  grant(lease: bigint, ttlMs: number): void {
    if (this.#leases.has(lease)) return;
    const cancel = this.timers.after(ttlMs, () => this.revoke(lease));
    this.#leases.set(lease, { ttlMs, cancel });
  }

  /** Time to live in ms; 0 for a lease that is gone. */
  renew(lease: bigint): number {
    const known = this.#leases.get(lease);
    if (known === undefined) return 0;
    known.cancel();
    known.cancel = this.timers.after(known.ttlMs, () => this.revoke(lease));
    return known.ttlMs;
  }

  /** Ends a lease and removes its keys, as its expiry does. */
  revoke(lease: bigint): void {
    this.#leases.get(lease)?.cancel();
    this.#leases.delete(lease);
    const keys = [...this.#entries.values()].filter((held) => held.lease === lease);
    const write = keys.map(({ key }) => ({ kind: 'delete', key }) as const);
    if (write.length > 0) this.#write({ compare: [], write });
  }

  /** Creates the key under a lease that exists; its revision if it is this lease's now. */
  claim(key: string, value: string, lease: bigint): number | undefined {
    if (!this.#leases.has(lease)) return undefined;
    const write = [{ kind: 'put', key, value }] as const;
    this.transact({ compare: [{ kind: 'absent', key }], write }, lease);
    const held = this.#entries.get(key);
    return held?.lease === lease ? held.modRevision : undefined;
  }

  #holds(compare: Compare): boolean {
    const held = this.#entries.get(compare.key);
    switch (compare.kind) {
      case 'absent':
        return held === undefined;
      case 'exists':
        return held !== undefined;
      case 'revision':
        return (held?.modRevision ?? 0) === compare.modRevision;
      case 'value':
        return held?.value === compare.value;
    }
  }

  /** A transaction that changes nothing takes no revision. */
  #write({ write }: Transaction, lease?: bigint): void {
    const revision = this.#revision + 1;
    const changes = write.flatMap((operation): Change[] => {
      const { key } = operation;
      if (operation.kind === 'delete') {
        return this.#entries.delete(key) ? [{ kind: 'delete', key, revision }] : [];
      }
      const held: Held = {
        key,
        value: operation.value,
        createRevision: this.#entries.get(key)?.createRevision ?? revision,
        modRevision: revision,
        lease,
      };
      this.#entries.set(key, held);
      return [{ kind: 'put', entry: entryOf(held) }];
    });
    if (changes.length === 0) return;
    this.#revision = revision;
    for (const watcher of this.#watchers) {
      const seen = changes.filter((change) => keyOf(change).startsWith(watcher.prefix));
      if (seen.length > 0) watcher.changed(seen, revision);
    }
  }
}

function entryOf({ key, value, createRevision, modRevision }: Held): Entry {
  return { key, value, createRevision, modRevision };
}

function keyOf(change: Change): string {
  return change.kind === 'put' ? change.entry.key : change.key;
}
