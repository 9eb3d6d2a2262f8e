import { type BallotDecision, rest } from './ballot-decisions.js';
import { type BallotFacts, stands } from './ballot-facts.js';
import type { Ballot } from './ballots.js';
import { isQuorum } from './electorate.js';
import { mayAgainMs, mostFollowed } from './withdrawals.js';

/**
 * One that is acked has no lease all the same where another controller does not hear it and a third is
 * dead: too few acknowledge it, too few vote. It says so itself. This controller votes too, where that may
 * make a majority and a role waits for it; elsewhere the vote would do no good. Two of its leases long
 * it goes on saying so: one that was stopped, and goes on, says it before its first lease.
 */
export function followOthers(
  ballot: Ballot,
  facts: BallotFacts,
  nowMs: number,
  leaseMs: number,
): BallotDecision {
  const { ails } = ballot;
  if (ails?.dark !== true || facts.newcomer) return rest('acked');
  const others = facts.electorate.sets.flat().filter((name) => name !== facts.me);
  const voted = others.some((name) => stands(facts, name));
  // Each of those who hear it is told the same, and votes too.
  const well = (name: string) => facts.others.some((one) => one.controller === name && one.well);
  const enough = isQuorum(
    facts.electorate.sets,
    (name) => name === facts.me || stands(facts, name) || well(name),
  );
  if (!voted || !enough || !facts.hasRole()) return rest('acked');
  const turnMs = ails.sinceMs + 2 * leaseMs;
  if (nowMs < turnMs) return rest('dark-too-shortly', turnMs);
  const againMs = mayAgainMs(ballot.withdrawnAtMs, mostFollowed, nowMs);
  if (againMs !== undefined) return rest('withdrew-too-often', againMs);
  const reason = 'it says that it has no lease, and others vote';
  return { kind: 'vote', lapse: { lastAckAgoMs: 0, atMs: nowMs }, reason, follows: true };
}
