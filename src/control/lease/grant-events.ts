import type { Ailments } from './ailments.js';
import type { HostGrants } from './grants.js';

/** What happens to one host's table of grants, and what comes of it. */
export type GrantEvent =
  | {
      readonly kind: 'heartbeat';
      readonly incarnation: number;
      readonly nonce: string;
      readonly seq: bigint;
      readonly sentAtNs: bigint;
      readonly echo: bigint;
      /** A lease longer than the ordinary one is wished for; 0n for none. */
      readonly wishNs: bigint;
      /** Under which set of controllers the host counts its lease. */
      readonly set: number;
      /** Never used before by this controller; given to the answer, should there be one. */
      readonly ackId: bigint;
      /** What it says of itself; left out: nothing ails it. */
      readonly ailments?: Ailments;
    }
  /** The store names this incarnation: its silence matters even if it is never heard. */
  | { readonly kind: 'watch'; readonly incarnation: number }
  /** Ack it no more. With `onlyIfLapsed`, only if no promise is running. */
  | { readonly kind: 'stop'; readonly incarnation: number; readonly onlyIfLapsed: boolean }
  /** Its vote was withdrawn. */
  | { readonly kind: 'resume'; readonly incarnation: number }
  /** This process itself stood still: heartbeats may wait unread. */
  | { readonly kind: 'stalled' }
  | { readonly kind: 'tick' };

export type GrantOutput =
  | {
      readonly kind: 'answer';
      readonly answer: 'ack' | 'challenge' | 'refuse';
      readonly incarnation: number;
      readonly nonce: string;
      readonly seq: bigint;
      readonly sentAtNs: bigint;
      readonly ackId: bigint;
      readonly leaseNs: bigint;
    }
  | {
      readonly kind: 'lapsed';
      readonly incarnation: number;
      /** null: never acked by this process. */
      readonly lastAckAgoNs: bigint | null;
      /** 1 for the first report of this lapse. */
      readonly report: number;
    }
  | { readonly kind: 'renewed'; readonly incarnation: number }
  /** What an acked one says of itself has changed. */
  | { readonly kind: 'ails'; readonly incarnation: number; readonly ailments: Ailments }
  /** Refused, yet alive, and it hears this controller: without a break since then. Once a lease. */
  | { readonly kind: 'heard'; readonly incarnation: number; readonly sinceNs: bigint }
  /** Not acked any more, and every promise ran out: a vote may be written. */
  | { readonly kind: 'stop-in-force'; readonly incarnation: number }
  /** `onlyIfLapsed` was asked and a promise is running: nothing was stopped. */
  | { readonly kind: 'stop-refused'; readonly incarnation: number; readonly leftNs: bigint };

export type GrantReason =
  | 'promised'
  | 'challenged'
  | 'refused-stopped'
  | 'refused-superseded'
  | 'heartbeat-not-newer'
  | 'not-controlling'
  | 'set-not-read'
  | 'set-refused'
  | 'table-full'
  | 'watched'
  | 'stopped'
  | 'resumed'
  | 'still-promised'
  | 'looked';

export interface GrantStep {
  readonly state: HostGrants;
  readonly outputs: readonly GrantOutput[];
  readonly reason: GrantReason;
}
