import type { Lapse } from './ballots.js';

/** What a controller does about its vote against one incarnation, and why. */
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

export function rest(reason: RestReason, wakeAtMs?: number): BallotDecision {
  return wakeAtMs === undefined ? { kind: 'rest', reason } : { kind: 'rest', reason, wakeAtMs };
}
