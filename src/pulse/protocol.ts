import type { Electorate } from '../control/electorate.js';
import type { Ailments } from '../control/lease/ailments.js';
import type { GrantedSets } from '../control/lease/grants.js';

/**
 * What agent and pulse of one host say to each other over /run/understudy/pulse.sock (0600):
 * one JSON object a line, each request answered by a line with the same `id`. Pulse sends events
 * (no id) at any time. All times are boot clock (CLOCK_BOOTTIME), in ms, of this host.
 */
export type PulseRequest =
  | { readonly kind: 'hello' }
  /**
   * Starts or changes this host's heartbeats. A new incarnation starts with an empty lease and its
   * own guard map. Refused while the map of another incarnation of ours is still enforced by devices.
   */
  | {
      readonly kind: 'enrol';
      readonly host: string;
      readonly incarnation: number;
      readonly controllers: readonly PulsePeer[];
      /**
       * Under which set of controllers the lease is counted, and its majorities: of each of the lists
       * of names. Left out: the first, one list of all.
       */
      readonly electorate?: Electorate;
      readonly heartbeatMs: number;
      readonly leaseMs: number;
      readonly clockMarginPercent: number;
      /** false: heartbeats go out, but the guard map says "no limit" (one controller, by default). */
      readonly enforce: boolean;
      /** Path of the pinned guard map of this incarnation, whose slot 0 pulse raises. */
      readonly guardMapPath: string;
    }
  /** Stops heartbeats; the guard map is left to run out. */
  | { readonly kind: 'retire' }
  /**
   * On a controller: what the store says, read after the start nonce was written. Only then does
   * pulse ack anything. `stopped` lists incarnations never to be acked (votes and retired marks).
   * May be sent again whenever any of it changes; `stopped` only ever adds (`resume-acks` takes away).
   */
  | {
      readonly kind: 'control';
      readonly controller: string;
      readonly hosts: readonly PulsePeer[];
      readonly stopped: readonly { readonly host: string; readonly incarnation: number }[];
      /**
       * Incarnations that the store names (host records and assignments). Their silence is reported
       * too when this pulse never heard them, so that a host that died while the controller was
       * down can be voted on.
       */
      readonly watched?: readonly { readonly host: string; readonly incarnation: number }[];
      /** Under which sets of controllers leases are granted; left out: the first only. */
      readonly sets?: GrantedSets;
      /** Incarnations that may be granted a longer lease, if they ask for it. Left out: none. */
      readonly longer?: readonly LongerLease[];
      readonly leaseMs: number;
      readonly clockMarginPercent: number;
    }
  /**
   * Before a planned restart of this pulse: ask for a lease of this length (0: the ordinary one).
   * The store must allow it, else the controllers grant the ordinary one.
   */
  | { readonly kind: 'lengthen'; readonly incarnation: number; readonly leaseMs: number }
  /**
   * Ack this incarnation no more; answered when that is in force and every promise ran out (at
   * most one lease × (1 + margin) later). To be sent before a vote. With `onlyIfLapsed` it is
   * refused (US_PULSE_PROMISED), and nothing stopped, if the host came back meanwhile.
   */
  | {
      readonly kind: 'stop-acks';
      readonly host: string;
      readonly incarnation: number;
      readonly onlyIfLapsed?: boolean;
    }
  /** Only after the vote was withdrawn in the store for sure: ack it again. */
  | { readonly kind: 'resume-acks'; readonly host: string; readonly incarnation: number }
  /**
   * Which roles the agent got to work under this incarnation, and has not begun to let go of: ids with
   * their epochs (`personality/web1@7`). Left out: it does not know yet, and what was said before holds.
   * Sent when it changes and once a second: it is how pulse knows that the agent is there. While it is
   * not, a host that carries nothing asks for no lease (src/pulse/agent-presence.ts).
   */
  | {
      readonly kind: 'carries';
      /** 0: it has none yet. */
      readonly incarnation: number;
      readonly roles?: readonly string[];
    }
  | { readonly kind: 'status' }
  /** Read the file of the cluster's keys again; answered with status. Anybody who may connect may ask. */
  | { readonly kind: 'reload-keys' };

export interface LongerLease {
  readonly host: string;
  readonly incarnation: number;
  readonly leaseMs: number;
}

export interface PulsePeer {
  readonly name: string;
  readonly address: string;
  readonly port: number;
}

export type PulseReply =
  | { readonly kind: 'ok' }
  | { readonly kind: 'error'; readonly code: string; readonly message: string }
  | {
      readonly kind: 'hello';
      readonly pid: number;
      /** 32 hex digits, fresh at each start of pulse: the controller's start nonce. */
      readonly nonce: string;
      /** Boot clock at which this pulse started. */
      readonly startedAtMs: number;
      readonly bootId: string;
      /** What it is doing already (an agent that restarted finds its pulse at work). */
      readonly enrolled: {
        readonly host: string;
        readonly incarnation: number;
        /** The set of controllers that its lease is counted under; absent: the first. */
        readonly set?: number;
      } | null;
      readonly controlling: boolean;
      /** What an agent said last that it carries; absent: none has, so it may be anything. */
      readonly carried?: readonly string[];
      readonly stopped: readonly { readonly host: string; readonly incarnation: number }[];
    }
  | {
      readonly kind: 'status';
      /** As in hello. */
      readonly nonce: string;
      /** Whether this very process holds the lease now; the deadline may be an earlier one's. */
      readonly held: boolean;
      readonly nowMs: number;
      /** This host's lease: its end on the boot clock, null before the first majority. */
      readonly deadlineMs: number | null;
      readonly hosts: readonly PulseHostStatus[];
      readonly counters: Readonly<Record<string, number>>;
      /** Names of the cluster's keys, the one that signs first. */
      readonly keys?: readonly string[];
    };

export interface PulseHostStatus {
  readonly host: string;
  readonly incarnation: number;
  readonly lastAckAgoMs: number | null;
  readonly lapsed: boolean;
}

export type PulseEvent =
  /**
   * Controller: a promise ran out without renewal. The agent decides whether to vote. Repeated
   * each lease length, ten times, then every tenth, until stop-acks or renewal; and after hello,
   * then of stopped ones too.
   */
  | {
      readonly kind: 'lapsed';
      readonly host: string;
      readonly incarnation: number;
      /** null: never acked since this pulse started. */
      readonly lastAckAgoMs: number | null;
      readonly atMs: number;
    }
  /** Controller: heartbeats are there again and promises were given (no vote in between). */
  | { readonly kind: 'renewed'; readonly host: string; readonly incarnation: number }
  /**
   * Controller: a host that it refuses is alive and hears it (it echoes the refusals), without a
   * break since `sinceMs`. Repeated each lease length while that lasts.
   */
  | {
      readonly kind: 'heard';
      readonly host: string;
      readonly incarnation: number;
      readonly sinceMs: number;
      readonly atMs: number;
    }
  /**
   * Controller: what a host that it acks says of itself has changed; after hello, where something ails it.
   */
  | ({ readonly kind: 'ails'; readonly host: string; readonly incarnation: number } & Ailments)
  /** Holder: first majority, after none or a lapse. */
  | {
      readonly kind: 'lease-held';
      readonly incarnation: number;
      readonly deadlineMs: number;
      /** Counted under this set of controllers; absent: the first. */
      readonly set?: number;
    }
  | { readonly kind: 'lease-lapsed'; readonly incarnation: number; readonly atMs: number }
  /**
   * Holder: the newest answers of a majority of controllers are refusals. Whether that is final only
   * the store can say. Repeated each lease length while it lasts; and after hello.
   */
  | { readonly kind: 'refused'; readonly incarnation: number };

export type PulseMessageToAgent =
  | { readonly id: number; readonly reply: PulseReply }
  | { readonly event: PulseEvent };

export type PulseMessageToPulse = { readonly id: number; readonly request: PulseRequest };
