/** How long the store is waited for, in ms. All of it grows together; docs/reference/cluster-file.md tells users. */
export interface StorePatience {
  /** Deadline of a try in the first two rounds over the members: any one of them may be frozen. */
  readonly tryMs: number;
  /** Later rounds double it up to this: a store that is merely slow must work as well. */
  readonly longestTryMs: number;
  /** A whole call with its retries, unless the caller says otherwise. */
  readonly budgetMs: number;
  /** How often a watch asks its member for a sign of life, and looks whether one came. */
  readonly probeEveryMs: number;
  readonly lookEveryMs: number;
  /** How long a watch's member may be silent, or without a quorum, before the watch moves to another. */
  readonly silenceMs: number;
  /** gRPC's ping of a connection that a call waits on, and as long for the answer. */
  readonly keepaliveMs: number;
  readonly office: OfficePatience;
}

/** Of one candidacy. Its margin is part of its lease: both are of the same call of `patienceFor`. */
export interface OfficePatience {
  readonly ttlSeconds: number;
  readonly renewEveryMs: number;
  /**
   * In office until the lease's end as counted from the *sending* of the last renewal, less this. It
   * covers a late timer, and one renewal acknowledged by an etcd leader that had just been deposed
   * without knowing it: etcd 3.4 answers keep-alives from the leader's memory alone.
   */
  readonly marginMs: number;
  /** A candidacy that takes longer has used up too much of its lease. */
  readonly standBudgetMs: number;
  readonly revokeBudgetMs: number;
}

/** The values below were measured with leases up to this, the default of 200 ms among them. */
const measuredLeaseMs = 1_000;
/** However long a lease: a store that died is to be noticed. */
const mostTimes = 10;

/**
 * How patient a cluster with this lease is with its store.
 *
 * The lease is the administrator's word for how long a host of this cluster may stand still and yet live; a
 * process there that asks the store stands still with it, and so may a member that answers. Waits shorter than
 * that take a slow machine for a dead member: calls are given up and repeated on another, which has the same
 * work once more. So up to a lease of one second everything is as it was measured, and above it grows in
 * proportion, ten times at most. Nothing is ever shorter: how fast etcd answers has nothing to do with a short
 * lease.
 *
 * No safety rests on it. Who may be on its networks is said by the lease in the kernel, which pulse renews
 * without the store; who may write is said by what each transaction compares. Patience only decides how soon
 * another member is asked, and how soon another controller takes the office of a leader that is gone, which no
 * failover waits for.
 *
 * @param leaseMs `timing.lease`; undefined as long as the cluster's definition is not known
 */
export function patienceFor(leaseMs: number | undefined): StorePatience {
  const times = Math.min(mostTimes, Math.max(1, (leaseMs ?? 0) / measuredLeaseMs));
  const ms = (measured: number) => Math.round(measured * times);
  return {
    tryMs: ms(100),
    longestTryMs: ms(800),
    budgetMs: ms(3_000),
    probeEveryMs: ms(500),
    lookEveryMs: ms(250),
    silenceMs: ms(1_000),
    keepaliveMs: ms(1_000),
    office: {
      // 2 s: etcd's least lease with its default election time-out of 1 s. It counts in seconds.
      ttlSeconds: Math.ceil(2 * times),
      renewEveryMs: ms(300),
      marginMs: ms(500),
      standBudgetMs: ms(1_000),
      revokeBudgetMs: ms(500),
    },
  };
}

/** Of a store that knows no lease yet. */
export const leastPatience = patienceFor(undefined);
