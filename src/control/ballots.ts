import { isNewcomer } from './controllers-change.js';
import { type Electorate, electorateOf, electorsOf, isQuorum } from './electorate.js';
import { type Ailments, noAilments, sameAilments } from './lease/ailments.js';
import type { VoteRecord } from './records.js';
import { incarnationId, type Kept, type View } from './view.js';
import { isOnlyLoss } from './votes.js';

/**
 * One controller's own vote against one incarnation, as its agent sees it.
 *
 * A vote is for good only once a majority stands. Before that, the voter takes it back when the
 * host is well: else a stall of one controller would leave every host one further failure from an
 * outage. Times are ms of this host's boot clock.
 */
export interface Ballot {
  /** Pulse's report that its promise ran out; null when it has none, or took it back. */
  readonly lapse: Lapse | null;
  /** Pulse was told to ack it no more, or said so itself; null while it acks. */
  readonly stoppedAtMs: number | null;
  /** Pulse confirmed that, and has said nothing else since. */
  readonly stopInForce: boolean;
  /** Pulse's newest word that it is alive although refused. */
  readonly heard: Heard | null;
  /** When this controller began to follow others' votes, though it heard it; null: it did not. */
  readonly followedAtMs: number | null;
  /** What an acked one says of itself, and since when; null for nothing. */
  readonly ails: (Ailments & { readonly sinceMs: number }) | null;
  /** Own withdrawals of the last minute, oldest first; bounded by `mostWithdrawals`. */
  readonly withdrawnAtMs: readonly number[];
}

export interface Lapse {
  /** null: never acked since this controller's pulse started. */
  readonly lastAckAgoMs: number | null;
  readonly atMs: number;
}

export interface Heard {
  readonly sinceMs: number;
  readonly atMs: number;
}

export type BallotEvent =
  | { readonly kind: 'lapsed'; readonly lapse: Lapse }
  | { readonly kind: 'renewed' }
  | { readonly kind: 'heard'; readonly heard: Heard }
  | { readonly kind: 'ails'; readonly ailments: Ailments }
  /** About to vote though it is heard. */
  | { readonly kind: 'followed' }
  /** Pulse is told to ack it no more, or says that it does not. */
  | { readonly kind: 'stopped' }
  /** Pulse confirmed that it does not, and that no promise is left. */
  | { readonly kind: 'in-force' }
  /** Pulse refused to stop: the host came back. */
  | { readonly kind: 'promised' }
  /** The vote was withdrawn in the store, and pulse was told. */
  | { readonly kind: 'resumed' }
  /** An agent or a pulse that starts: what the one before was told is told again. */
  | { readonly kind: 'connected'; readonly stopped: boolean };

export type BallotDecision =
  | {
      readonly kind: 'vote';
      readonly lapse: Lapse;
      readonly reason: string;
      /** Its promise runs: pulse stops acknowledging, and waits it out, before the vote is written. */
      readonly follows?: true;
    }
  /** Only has pulse ack it no more: the vote follows. */
  | { readonly kind: 'stop'; readonly reason: RestReason }
  | { readonly kind: 'withdraw'; readonly reason: string }
  | { readonly kind: 'rest'; readonly reason: RestReason; readonly wakeAtMs?: number };

export type RestReason =
  | 'acked' // nothing is wrong
  | 'dark-too-shortly' // acked, but it says that it has no lease, and others vote
  | 'others-vote' // controllers before this one make a majority; its vote is to spare
  | 'votes-last' // with those before it, who are about to vote, this one makes the majority
  | 'retired' // a commit shut it out
  | 'silent' // voted, and nothing heard
  | 'majority-stands' // alive, but a majority is final
  | 'heard-too-shortly'
  | 'others-follow' // it was heard when this controller voted; the others who hear it are about to
  | 'withdrew-too-often' // a host that comes and goes must not make a storm of writes
  | 'follows-the-old' // about to become a controller: it has not heard the host yet
  | 'not-told-yet'; // stopped by an agent before this one: pulse is about to say why

/** What the store says of the incarnation. */
export interface BallotFacts {
  readonly me: string;
  readonly electorate: Electorate;
  /** Only about to become a controller. */
  readonly newcomer: boolean;
  readonly mine: Kept<VoteRecord> | undefined;
  /** Every other controller, whether its vote stands, and the revision of its key. */
  readonly others: readonly {
    readonly controller: string;
    readonly standing: boolean;
    readonly revision: number | undefined;
    /** Its own host is enrolled and heard; left out: no. */
    readonly well?: boolean;
  }[];
  readonly retired: boolean;
  /** Controllers in order before this one, as far as they seem well, are a majority without it. */
  readonly spare: boolean;
  /** They are one with it, and its vote can carry the commit. */
  readonly last: boolean;
  /** Whether the store has given it a role. */
  hasRole(): boolean;
}

/**
 * How long a vote that is to spare waits. Each vote is a write that reaches every agent just when a
 * takeover begins; a majority and its commit are there by then, unless one of the voters is not well.
 *
 * The vote that is to make the majority waits for the others as long at most: it is committed on in
 * its own transaction, which has to compare them. Without them there would be no majority either.
 */
export const spareVoteMs = 20;
/** Enough for whatever goes wrong with controllers; a host that flaps more often stays voted. */
export const mostWithdrawals = 10;
/** Of which so few may have been of votes that followed others': the rest is for a host that is back. */
export const mostFollowed = 3;
/** So long a vote that followed others' is not taken back: its promise and the others' run out, and more. */
const followLeases = 5;
export const withdrawalWindowMs = 60_000;

export const noBallot: Ballot = {
  lapse: null,
  stoppedAtMs: null,
  stopInForce: false,
  heard: null,
  followedAtMs: null,
  ails: null,
  withdrawnAtMs: [],
};

const acked = {
  lapse: null,
  stoppedAtMs: null,
  stopInForce: false,
  heard: null,
  followedAtMs: null,
} as const;

export function stepBallot(ballot: Ballot, event: BallotEvent, nowMs: number): Ballot {
  switch (event.kind) {
    case 'lapsed':
      return { ...ballot, lapse: event.lapse };
    // A promise was given, so it is not stopped, whatever became of the order.
    case 'renewed':
    case 'promised':
      return { ...ballot, ...acked };
    case 'heard':
      return { ...ballot, heard: event.heard };
    case 'followed':
      return { ...ballot, followedAtMs: nowMs };
    case 'ails': {
      if (sameAilments(event.ailments, noAilments)) return { ...ballot, ails: null };
      const { dark } = event.ailments;
      const sinceMs = ballot.ails?.dark === dark ? ballot.ails.sinceMs : nowMs;
      return { ...ballot, ails: { ...event.ailments, sinceMs } };
    }
    case 'stopped':
      return { ...ballot, stoppedAtMs: ballot.stoppedAtMs ?? nowMs, stopInForce: false };
    case 'in-force':
      return { ...ballot, stoppedAtMs: ballot.stoppedAtMs ?? nowMs, stopInForce: true };
    case 'resumed': {
      const withdrawnAtMs = [...recent(ballot, nowMs).slice(1 - mostWithdrawals), nowMs];
      return { ...ballot, ...acked, ails: null, withdrawnAtMs };
    }
    case 'connected':
      return { ...ballot, ...acked, ails: null, stoppedAtMs: event.stopped ? nowMs : null };
  }
}

/** Whether there is nothing to remember about it. */
export function isIdle(ballot: Ballot, nowMs: number): boolean {
  const { lapse, stoppedAtMs, heard, ails } = ballot;
  const quiet = [lapse, stoppedAtMs, heard, ails].every((one) => one === null);
  return quiet && recent(ballot, nowMs).length === 0;
}

/** What to do about one's own vote now. */
export function decideBallot(
  ballot: Ballot,
  facts: BallotFacts,
  nowMs: number,
  leaseMs: number,
): BallotDecision {
  if (facts.retired) return rest('retired');
  const { lapse, stoppedAtMs, heard } = ballot;
  if (stoppedAtMs === null) {
    if (lapse === null) return followOthers(ballot, facts, nowMs, leaseMs);
    if (facts.newcomer && !oldOnesVoted(facts)) return rest('follows-the-old');
    const turnMs = lapse.atMs + spareVoteMs;
    if (facts.spare && nowMs < turnMs) return rest('others-vote', turnMs);
    return waitsForOthers(facts, lapse, nowMs)
      ? { kind: 'stop', reason: 'votes-last' }
      : vote(lapse);
  }
  const stands = facts.mine?.value.state === 'expired';
  if (facts.newcomer && stands && !oldOnesVoted(facts)) return withdrawAsNewcomer(ballot, nowMs);
  const freshUntilMs = (heard?.atMs ?? Number.NEGATIVE_INFINITY) + 2 * leaseMs;
  if (heard === null || nowMs > freshUntilMs) {
    if (stands) return rest('silent');
    if (lapse !== null) {
      if (!waitsForOthers(facts, lapse, nowMs)) return vote(lapse);
      return rest('votes-last', lapse.atMs + spareVoteMs);
    }
    const toldByMs = stoppedAtMs + 2 * leaseMs;
    if (nowMs < toldByMs) return rest('not-told-yet', toldByMs);
    return vote({ lastAckAgoMs: null, atMs: nowMs });
  }
  if (isQuorum(facts.electorate.sets, (name) => stand(facts, name))) {
    return rest('majority-stands');
  }
  const heardMs = heard.atMs - heard.sinceMs;
  if (heardMs < leaseMs) return rest('heard-too-shortly', freshUntilMs + 1);
  const followedUntilMs =
    (ballot.followedAtMs ?? Number.NEGATIVE_INFINITY) + followLeases * leaseMs;
  if (nowMs < followedUntilMs) return rest('others-follow', followedUntilMs);
  const [oldest, ...later] = recent(ballot, nowMs);
  if (oldest !== undefined && later.length + 1 >= mostWithdrawals) {
    return rest('withdrew-too-often', Math.min(oldest + withdrawalWindowMs, freshUntilMs + 1));
  }
  return { kind: 'withdraw', reason: `heard again for ${Math.round(heardMs)} ms` };
}

/** @param lapsed `host/incarnation` whose promise this controller saw run out */
export function ballotFacts(
  view: View,
  me: string,
  host: string,
  incarnation: number,
  lapsed: ReadonlySet<string>,
): BallotFacts {
  const id = incarnationId(host, incarnation);
  const votes = view.votes.get(id);
  const electorate =
    view.config === undefined ? { set: 0, sets: [] } : electorateOf(view.config.value);
  const electors = electorsOf(electorate);
  const others = electors.filter((controller) => controller !== me);
  const well = (name: string) => {
    const enrolled = view.hosts.get(name)?.value.incarnation;
    return enrolled !== undefined && !lapsed.has(incarnationId(name, enrolled));
  };
  const before = electors.slice(0, Math.max(0, electors.indexOf(me))).filter(well);
  return {
    me,
    electorate,
    newcomer: isNewcomer(view, me),
    spare: isQuorum(electorate.sets, (name) => before.includes(name)),
    last:
      isQuorum(electorate.sets, (name) => name === me || before.includes(name)) &&
      isOnlyLoss(view, id, lapsed),
    mine: votes?.get(me),
    others: others.map((controller) => {
      const vote = votes?.get(controller);
      const standing = vote?.value.state === 'expired';
      return { controller, standing, revision: vote?.revision, well: well(controller) };
    }),
    retired: view.retired.has(id),
    hasRole: () =>
      [...view.assignments.values()].some(
        ({ value }) => value.host === host && value.incarnation === incarnation,
      ),
  };
}

/**
 * One that is acked has no lease all the same where another controller does not hear it and a third is
 * dead: too few acknowledge it, too few vote. It says so itself. This controller votes too, where that may
 * make a majority and a role waits for it; elsewhere the vote would do no good. Two of its leases long
 * it goes on saying so: one that was stopped, and goes on, says it before its first lease.
 */
function followOthers(
  ballot: Ballot,
  facts: BallotFacts,
  nowMs: number,
  leaseMs: number,
): BallotDecision {
  const { ails } = ballot;
  if (ails?.dark !== true || facts.newcomer) return rest('acked');
  const others = facts.electorate.sets.flat().filter((name) => name !== facts.me);
  const voted = others.some((name) => stand(facts, name));
  // Each of those who hear it is told the same, and votes too.
  const well = (name: string) => facts.others.some((one) => one.controller === name && one.well);
  const enough = isQuorum(
    facts.electorate.sets,
    (name) => name === facts.me || stand(facts, name) || well(name),
  );
  if (!voted || !enough || !facts.hasRole()) return rest('acked');
  const turnMs = ails.sinceMs + 2 * leaseMs;
  if (nowMs < turnMs) return rest('dark-too-shortly', turnMs);
  const [oldest, ...later] = recent(ballot, nowMs);
  if (oldest !== undefined && later.length + 1 >= mostFollowed) {
    return rest('withdrew-too-often', oldest + withdrawalWindowMs);
  }
  const reason = 'it says that it has no lease, and others vote';
  return { kind: 'vote', lapse: { lastAckAgoMs: 0, atMs: nowMs }, reason, follows: true };
}

/**
 * It may have been a controller before, and voted when the hosts had left it. It hears nobody who could
 * tell it so, and would carry no lease. No majority stands without the old ones.
 */
function withdrawAsNewcomer(ballot: Ballot, nowMs: number): BallotDecision {
  const [oldest, ...later] = recent(ballot, nowMs);
  if (oldest !== undefined && later.length + 1 >= mostWithdrawals) {
    return rest('withdrew-too-often', oldest + withdrawalWindowMs);
  }
  return { kind: 'withdraw', reason: 'the old controllers have no vote against it' };
}

function stand({ me, mine, others }: BallotFacts, name: string): boolean {
  if (name === me) return mine?.value.state === 'expired';
  return others.some(({ controller, standing }) => controller === name && standing);
}

/** Whether the own vote is to make the majority, and the others' are not there yet. */
function waitsForOthers(facts: BallotFacts, lapse: Lapse, nowMs: number): boolean {
  const { electorate, last, me, newcomer, spare } = facts;
  if (spare || newcomer || !last || nowMs >= lapse.atMs + spareVoteMs) return false;
  return !isQuorum(electorate.sets, (name) => name === me || stand(facts, name));
}

function oldOnesVoted(facts: BallotFacts): boolean {
  return isQuorum(facts.electorate.sets.slice(0, 1), (name) => stand(facts, name));
}

function recent({ withdrawnAtMs }: Ballot, nowMs: number): readonly number[] {
  return withdrawnAtMs.filter((atMs) => nowMs - atMs < withdrawalWindowMs);
}

function vote(lapse: Lapse): BallotDecision {
  const { lastAckAgoMs } = lapse;
  const reason =
    lastAckAgoMs === null
      ? 'never heard since this controller started'
      : `no heartbeat for ${Math.round(lastAckAgoMs)} ms`;
  return { kind: 'vote', lapse, reason };
}

function rest(reason: RestReason, wakeAtMs?: number): BallotDecision {
  return wakeAtMs === undefined ? { kind: 'rest', reason } : { kind: 'rest', reason, wakeAtMs };
}
