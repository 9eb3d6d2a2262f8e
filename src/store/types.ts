/**
 * The one interface to the one store. Two adapters: etcd and memory; test/store/compliance.ts is run
 * against both. Values are UTF-8 text (JSON by convention); keys are paths below the cluster's prefix.
 */
export interface Entry {
  readonly key: string;
  readonly value: string;
  /** Store revision at which the key was created. */
  readonly createRevision: number;
  /** Store revision of the last write to this key. */
  readonly modRevision: number;
}

/** All comparisons of a transaction must hold for `write` to be carried out. */
export type Compare =
  | { readonly kind: 'absent'; readonly key: string }
  | { readonly kind: 'exists'; readonly key: string }
  /** The key's last write was at exactly this revision. */
  | { readonly kind: 'revision'; readonly key: string; readonly modRevision: number }
  | { readonly kind: 'value'; readonly key: string; readonly value: string };

export type Operation =
  | { readonly kind: 'put'; readonly key: string; readonly value: string }
  | { readonly kind: 'delete'; readonly key: string };

export interface Transaction {
  readonly compare: readonly Compare[];
  readonly write: readonly Operation[];
}

export interface TransactionResult {
  /** Whether the comparisons held and `write` was carried out. */
  readonly done: boolean;
  /** Store revision of the answer. */
  readonly revision: number;
  /**
   * When not done: what the compared keys hold now (absent keys are left out), read in the same
   * step. A caller whose earlier try timed out sees here whether that try was applied after all.
   */
  readonly current: readonly Entry[];
}

export interface Snapshot {
  readonly entries: readonly Entry[];
  readonly revision: number;
}

export type Change =
  | { readonly kind: 'put'; readonly entry: Entry }
  | { readonly kind: 'delete'; readonly key: string; readonly revision: number };

/**
 * Told of a prefix's whole content first, then of every change in order, none left out. After a
 * gap (compaction, reconnect) a new `snapshot` is given, which replaces all that was known.
 */
export interface WatchListener {
  snapshot(snapshot: Snapshot): void;
  changes(changes: readonly Change[], revision: number): void;
}

export interface CallOptions {
  /** Bound on the whole call with its retries on other members; default 3000, more where the lease is long. */
  readonly budgetMs?: number;
  readonly signal?: AbortSignal;
}

export interface Store {
  /** Fails with US_STORE_UNREACHABLE when no member answers within `budgetMs`. */
  start(signal: AbortSignal): Promise<void>;
  stop(): Promise<void>;
  /**
   * Told the cluster's lease by whoever reads its definition: from then on the store is as patient as
   * patience.ts says. An office that is held keeps what it began with.
   */
  suit(leaseMs: number): void;
  /** Linearizable. */
  get(key: string, options?: CallOptions): Promise<Entry | undefined>;
  /** Linearizable; sorted by key. */
  list(prefix: string, options?: CallOptions): Promise<Snapshot>;
  /**
   * Each try has a deadline (etcd; 100 ms at first) and is repeated on another member until the budget ends,
   * then US_STORE_UNREACHABLE: the transaction may or may not have been applied.
   */
  transact(transaction: Transaction, options?: CallOptions): Promise<TransactionResult>;
  /** Watches until `signal` aborts. Survives frozen, killed and restarted members. */
  watch(prefix: string, listener: WatchListener, signal: AbortSignal): void;
  /**
   * Stands for election until `signal` aborts; renews itself after errors. Steps down by the local
   * clock before the store would hand the office on.
   */
  campaign(
    office: string,
    candidate: string,
    listener: CampaignListener,
    signal: AbortSignal,
  ): void;
  /** Who holds the office now; undefined for nobody. */
  holder(office: string, options?: CallOptions): Promise<string | undefined>;
}

export interface CampaignListener {
  /** `guard` is a comparison that holds only while this candidacy lasts. */
  elected(guard: Compare): void;
  /** No longer in office (or never sure of it again): told before anybody else can be elected. */
  lost(reason: string): void;
}
