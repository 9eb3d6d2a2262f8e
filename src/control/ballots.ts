import { type BallotDecision, rest } from './ballot-decisions.js';
import { type BallotFacts, stands } from './ballot-facts.js';
import { isQuorum } from './electorate.js';
import { followOthers } from './following.js';
import { type Ailments, noAilments, sameAilments } from './lease/ailments.js';
import { mayAgainMs, mostWithdrawals, recent } from './withdrawals.js';

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

/**
 * How long a vote that is to spare waits. Each vote is a write that reaches every agent just when a
 * takeover begins; a majority and its commit are there by then, unless one of the voters is not well.
 *
 * The vote that is to make the majority waits for the others as long at most: it is committed on in
 * its own transaction, which has to compare them. Without them there would be no majority either.
 */
export const spareVoteMs = 20;
/** So long a vote that followed others' is not taken back: its promise and the others' run out, and more. */
const followLeases = 5;

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
      const withdrawnAtMs = [
        ...recent(ballot.withdrawnAtMs, nowMs).slice(1 - mostWithdrawals),
        nowMs,
      ];
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
  return quiet && recent(ballot.withdrawnAtMs, nowMs).length === 0;
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
  const voted = facts.mine?.value.state === 'expired';
  if (facts.newcomer && voted && !oldOnesVoted(facts)) return withdrawAsNewcomer(ballot, nowMs);
  const freshUntilMs = (heard?.atMs ?? Number.NEGATIVE_INFINITY) + 2 * leaseMs;
  if (heard === null || nowMs > freshUntilMs) {
    if (voted) return rest('silent');
    if (lapse !== null) {
      if (!waitsForOthers(facts, lapse, nowMs)) return vote(lapse);
      return rest('votes-last', lapse.atMs + spareVoteMs);
    }
    const toldByMs = stoppedAtMs + 2 * leaseMs;
    if (nowMs < toldByMs) return rest('not-told-yet', toldByMs);
    return vote({ lastAckAgoMs: null, atMs: nowMs });
  }
  if (isQuorum(facts.electorate.sets, (name) => stands(facts, name))) {
    return rest('majority-stands');
  }
  const heardMs = heard.atMs - heard.sinceMs;
  if (heardMs < leaseMs) return rest('heard-too-shortly', freshUntilMs + 1);
  const followedUntilMs =
    (ballot.followedAtMs ?? Number.NEGATIVE_INFINITY) + followLeases * leaseMs;
  if (nowMs < followedUntilMs) return rest('others-follow', followedUntilMs);
  const againMs = mayAgainMs(ballot.withdrawnAtMs, mostWithdrawals, nowMs);
  if (againMs !== undefined) return rest('withdrew-too-often', Math.min(againMs, freshUntilMs + 1));
  return { kind: 'withdraw', reason: `heard again for ${Math.round(heardMs)} ms` };
}

/**
 * It may have been a controller before, and voted when the hosts had left it. It hears nobody who could
 * tell it so, and would carry no lease. No majority stands without the old ones.
 */
function withdrawAsNewcomer(ballot: Ballot, nowMs: number): BallotDecision {
  const againMs = mayAgainMs(ballot.withdrawnAtMs, mostWithdrawals, nowMs);
  if (againMs !== undefined) return rest('withdrew-too-often', againMs);
  return { kind: 'withdraw', reason: 'the old controllers have no vote against it' };
}

/** Whether the own vote is to make the majority, and the others' are not there yet. */
function waitsForOthers(facts: BallotFacts, lapse: Lapse, nowMs: number): boolean {
  const { electorate, last, me, newcomer, spare } = facts;
  if (spare || newcomer || !last || nowMs >= lapse.atMs + spareVoteMs) return false;
  return !isQuorum(electorate.sets, (name) => name === me || stands(facts, name));
}

function oldOnesVoted(facts: BallotFacts): boolean {
  return isQuorum(facts.electorate.sets.slice(0, 1), (name) => stands(facts, name));
}

function vote(lapse: Lapse): BallotDecision {
  const { lastAckAgoMs } = lapse;
  const reason =
    lastAckAgoMs === null
      ? 'never heard since this controller started'
      : `no heartbeat for ${Math.round(lastAckAgoMs)} ms`;
  return { kind: 'vote', lapse, reason };
}
