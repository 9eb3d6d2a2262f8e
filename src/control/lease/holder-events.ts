import type { HolderState } from './holder.js';

/** What happens to a holder of a lease, and what comes of it. */
export type HolderEvent =
  | { readonly kind: 'tick' }
  /** From now on a longer lease is asked for; 0n: no more. */
  | { readonly kind: 'wish'; readonly leaseNs: bigint }
  /** From now on no lease is asked for, or again. */
  | { readonly kind: 'rest'; readonly resting: boolean }
  | {
      readonly kind: 'answer';
      readonly answer: 'ack' | 'challenge' | 'refuse';
      /** Authenticated name of the sender. */
      readonly from: string;
      readonly incarnation: number;
      readonly nonce: string;
      readonly seq: bigint;
      readonly ackId: bigint;
      /** The lease that an ack grants; the shorter of this and the holder's own counts. */
      readonly leaseNs: bigint;
      /** Whether the sender takes what ails this host; left out: no. */
      readonly takesAilments?: boolean;
    };

export type HolderOutput =
  | {
      readonly kind: 'heartbeat';
      readonly to: string;
      readonly seq: bigint;
      readonly sentAtNs: bigint;
      readonly echo: bigint;
      readonly wishNs: bigint;
      readonly set: number;
    }
  /** Write this into the kernel's map: frames pass strictly before it. */
  | { readonly kind: 'raise'; readonly deadlineNs: bigint }
  | { readonly kind: 'lease-held'; readonly deadlineNs: bigint }
  | { readonly kind: 'lease-lapsed'; readonly deadlineNs: bigint }
  /**
   * The newest answers of a majority are refusals. That is no proof that it is over for good: a
   * vote may be withdrawn, and an answer may be old. Told once a lease while it lasts.
   */
  | { readonly kind: 'refused' };

export type HolderReason =
  | 'nothing-due'
  | 'wished'
  | 'resting'
  | 'heartbeat'
  | 'acked'
  | 'challenged'
  | 'refused'
  | 'answer-of-unknown-controller'
  | 'answer-to-other-incarnation'
  | 'answer-to-other-start'
  | 'answer-to-unknown-heartbeat'
  | 'answer-not-newest';

export interface HolderStep {
  readonly state: HolderState;
  readonly outputs: readonly HolderOutput[];
  readonly reason: HolderReason;
}
