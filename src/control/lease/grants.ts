import type { Ailments } from './ailments.js';
import { later } from './instants.js';

/**
 * What a controller's pulse knows about one host's lease. One such table a host; tables of
 * different hosts share nothing, so each is stepped alone.
 */
export interface HostGrants {
  /** Newest incarnation that was heard, stopped, or named by the store; all older ones are refused. */
  readonly newest: number;
  /** Ascending by incarnation, at most `maxGrants`. */
  readonly grants: readonly Grant[];
}

/** One incarnation. */
export interface Grant {
  readonly incarnation: number;
  /** Not to be acked: this controller votes, or voted, against it, or it was retired. */
  readonly stopped: boolean;
  /** Of a stopped one that is alive and hears this controller; null when it was not heard so. */
  readonly hearing: Hearing | null;
  /** Somebody waits to hear that the stop counts. */
  readonly stopAwaited: boolean;
  /** Pulse start of the newest heartbeat, '' before the first. */
  readonly nonce: string;
  readonly seq: bigint;
  /** Send time of the newest heartbeat on the *host's* boot clock: good for comparing only. */
  readonly sentAtNs: bigint;
  /** Own answers that a heartbeat may still echo, oldest first. */
  readonly answers: readonly { readonly ackId: bigint; readonly atNs: bigint }[];
  readonly lastAckNs: bigint | null;
  /** What it said of itself in the newest heartbeat that was acked. */
  readonly ailments: Ailments;
  /** No vote before this: own promises, and those of this controller's previous process, end here. */
  readonly promisedUntilNs: bigint;
  /** No lapse is reported before this, although one might: time to be heard at all. */
  readonly reportFromNs: bigint;
  /** How often the present lapse was reported. */
  readonly reports: number;
  readonly nextReportNs: bigint;
}

/** A refused host that echoes this controller's answers; times on the controller's own clock. */
export interface Hearing {
  /** Never silent for a lease since then. */
  readonly sinceNs: bigint;
  readonly lastNs: bigint;
  /** When that was last told. */
  readonly toldNs: bigint;
}

/** What a start of the controller fixed. */
export interface GrantTerm {
  /**
   * Own boot clock: promises of this controller's previous process have ended by then. At least
   * one promise after the start; later if leases were longer before.
   */
  readonly inheritedUntilNs: bigint;
  /** Whether the votes in the store have been read. */
  readonly controlled: boolean;
  readonly leaseNs: bigint;
  /** Bound on the ratio of two clock rates. */
  readonly marginPercent: number;
  /** Sets of controllers under which leases are granted. */
  readonly sets: GrantedSets;
  /** What the store allows this host for a while; null for nothing beyond the ordinary. */
  readonly longer: LongLease | null;
}

/** Numbers of sets of controllers, which grow with each step of a change. */
export interface GrantedSets {
  /** Refused below this, for good: it stands in the store. */
  readonly lowest: number;
  /** The newest that was read from the store; retired marks were read after it. */
  readonly newest: number;
}

/**
 * A longer lease for one incarnation, for a planned restart of its pulse. It stands in the store for
 * as long as any promise of it may run: so a controller that forgot its promises, by a reboot too,
 * reads that it may have given one.
 */
export interface LongLease {
  readonly incarnation: number;
  readonly leaseNs: bigint;
}

export const maxGrants = 8;

export const noGrants: HostGrants = { newest: 0, grants: [] };

/** Length of a promise: the lease, stretched by the bound on clock rates, rounded up. */
export function promiseNs({
  leaseNs,
  marginPercent,
}: Pick<GrantTerm, 'leaseNs' | 'marginPercent'>): bigint {
  const millionths = BigInt(Math.ceil(marginPercent * 10_000));
  return leaseNs + (leaseNs * millionths + 999_999n) / 1_000_000n;
}

/**
 * An incarnation never heard by this process gets longer than a promise before its silence is
 * reported: five leases. The host may just be enrolling, or this controller's own start may have
 * taken its time; the other controllers, who did hear it, are not held up by that.
 */
export function unheardGraceNs(term: GrantTerm): bigint {
  return later(5n * term.leaseNs, promiseNs(term));
}

/** The longest lease that this controller, or its process before this one, may have granted. */
export function longestNs({ leaseNs, longer }: GrantTerm, incarnation: number): bigint {
  return longer?.incarnation === incarnation ? later(leaseNs, longer.leaseNs) : leaseNs;
}

export function findGrant(host: HostGrants, incarnation: number): Grant | undefined {
  return host.grants.find((grant) => grant.incarnation === incarnation);
}

/** Puts `grant` in its place; undefined when the table is full of grants that must be kept. */
export function withGrant(host: HostGrants, grant: Grant, nowNs: bigint): HostGrants | undefined {
  const { incarnation } = grant;
  const newest = Math.max(host.newest, incarnation);
  const others = host.grants.filter((other) => other.incarnation !== incarnation);
  const kept = others.filter((other) => !isOver(other, newest, nowNs));
  if (kept.length >= maxGrants) {
    const spare = kept.findIndex((other) => nowNs >= other.promisedUntilNs && !other.stopAwaited);
    if (spare < 0) return undefined;
    kept.splice(spare, 1);
  }
  return { newest, grants: [...kept, grant].sort((a, b) => a.incarnation - b.incarnation) };
}

/** Nothing is left to say about it: stopped, superseded (so refused anyway), no promise left. */
function isOver(grant: Grant, newest: number, nowNs: bigint): boolean {
  return (
    grant.stopped &&
    !grant.stopAwaited &&
    grant.incarnation < newest &&
    nowNs >= grant.promisedUntilNs
  );
}
