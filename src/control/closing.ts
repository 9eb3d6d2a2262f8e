import {
  type Circumstances,
  type Commit,
  decideFailovers,
  initialFailoverState,
} from './failover.js';
import type { VoteRecord } from './records.js';
import { incarnationId, roleId, type View } from './view.js';
import { isOnlyLoss, isShutOut } from './votes.js';

/** Each takes three comparisons and two writes of the 128 that etcd takes in a transaction. */
export const mostCommitsWithVote = 16;

/** In no store yet, so in no comparison. */
const notWritten = -1;

/**
 * What may be committed in the transaction that writes one's own vote: the failovers of that
 * incarnation, where this vote makes the majority. The vote counts from the moment that transaction is
 * carried out, and so does what rests on it; if a comparison fails, neither is written.
 *
 * Nothing while another incarnation's roles are to be moved too, or soon may be: the leader places all
 * of them, one after the other.
 */
export function commitsWithVote(
  view: View,
  { host, incarnation }: { readonly host: string; readonly incarnation: number },
  mine: VoteRecord,
  now: Circumstances,
): readonly Commit[] {
  const id = incarnationId(host, incarnation);
  if (isShutOut(view, host, incarnation) || !isOnlyLoss(view, id, now.liveness.lapsed)) return [];
  const votes = new Map(view.votes.get(id)).set(now.me, { value: mine, revision: notWritten });
  const counted = { ...view, votes: new Map(view.votes).set(id, votes) };
  // Nobody else has seen this majority, so nobody's turn comes before.
  const { verdicts } = decideFailovers(initialFailoverState, counted, { ...now, leader: true });
  const commits: Commit[] = [];
  for (const verdict of verdicts) {
    const owner = view.assignments.get(roleId(verdict.role))?.value;
    const ofThis = owner?.host === host && owner.incarnation === incarnation;
    if (verdict.kind === 'fail-over' && ofThis) commits.push(verdict.commit);
    // What another host lost and nobody can take is in nobody's way.
    else if (verdict.kind === 'fail-over' || ofThis) return [];
  }
  return commits.slice(0, mostCommitsWithVote).map((commit) => ({
    ...commit,
    votes: commit.votes.filter(({ controller }) => controller !== now.me),
  }));
}
