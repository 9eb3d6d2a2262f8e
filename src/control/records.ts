import type { ClusterConfig } from '../config/types.js';
import type { RoleKind } from './keys.js';

/** Values of the store's keys (JSON). Revisions are the store's, kept beside them in the view. */

/** `config`: the cluster file with everything allocated. `generation` grows with each apply. */
export interface ConfigRecord {
  readonly generation: number;
  readonly config: ClusterConfig;
  /** Absent until the controllers are changed for the first time. */
  readonly controllers?: ControllersRecord;
}

/** Beside `config.controllers`, which are the new ones while they change. */
export interface ControllersRecord {
  /** Number of the set that leases are counted under; grows with each step of a change. */
  readonly set: number;
  /**
   * A host that counts its lease by a set before this one gets no role: those who granted it that
   * lease may be nobody now.
   */
  readonly since: number;
  /** The controllers that are replaced, as long as their majority counts too; else null. */
  readonly from: readonly string[] | null;
}

/** Heartbeats carry the number of the set in 16 bits. */
export const lastSet = 0xffff;

/** `alloc`. A MAC stays with its holder for ever, also when the holder leaves the file. */
export interface AllocationRecord {
  /** `personality/web1/blue` or `service/web` → MAC. */
  readonly macs: Readonly<Record<string, string>>;
  /** Service → 32 hex digits. */
  readonly seeds: Readonly<Record<string, string>>;
}

/** `hosts/<host>`: one boot is one incarnation, and so is each enrolment after an expulsion. */
export interface HostRecord {
  readonly incarnation: number;
  /** Random, kept in /run: a reboot or a power cut forgets it. */
  readonly bootToken: string;
  /** Whether the kernel enforces the lease of this incarnation; fixed for its life. */
  readonly enforced: boolean;
  /**
   * The lowest set of controllers that this incarnation ever counts its lease by. Absent: the first;
   * versions before 0.2 do not say.
   */
  readonly set?: number;
}

/** `fenced/<host>/<incarnation>`: this incarnation is off for sure. Never deleted. */
export interface FencedRecord {
  readonly by: 'power' | 'person';
  readonly atUnixMs: number;
  readonly detail: string;
}

/** `features/<host>`. */
export interface FeaturesRecord {
  readonly vlan: boolean;
  readonly kernel: string;
  /** Of the agent; versions before 0.2 do not say. */
  readonly version?: string;
  /** Whether its agent and pulse know that the set of controllers may change. */
  readonly controllerSets?: boolean;
  /** Whether its reports say `leased`. */
  readonly tellsLease?: boolean;
  /** Whether its reports say `ready`. */
  readonly tellsReady?: boolean;
  /** TCP port of its agent for what other hosts' dispatchers remember; absent: it takes nothing. */
  readonly flowsPort?: number;
}

/** `controllers/<id>/start`: nonce of the pulse that acks for this controller. */
export interface StartRecord {
  readonly nonce: string;
}

/**
 * `controllers/<id>/sets`: written after its pulse obeys, by the start whose nonce stands, so that no
 * late write speaks for a later start. Both only grow.
 */
export interface SetsRecord {
  /** It grants leases up to this set: it read the configuration and then the retired marks. */
  readonly accepts: number;
  /** It grants none below this set any more. */
  readonly refusesBelow: number;
}

/**
 * `longer/<host>`: a longer lease for a planned restart of the pulse that has this nonce. It is written
 * before the lease is asked for and removed only when no such lease can be running any more.
 */
export interface LongerLeaseRecord {
  readonly incarnation: number;
  readonly nonce: string;
  readonly leaseMs: number;
}

/** A host that dies within a longer lease is noticed that much later. */
export const longestLeaseMs = 10_000;

/** `votes/<host>/<incarnation>/<controller>`: overwritten when withdrawn, never deleted. */
export interface VoteRecord {
  readonly state: 'expired' | 'withdrawn';
  /** Since the controller last acknowledged; null when it never did since it started. */
  readonly lastAckAgoMs: number | null;
  /** Time of the vote on the controller's boot clock, and which clock that is. */
  readonly atMs: number;
  readonly bootId: string;
  /** It had said that its agent is away. Versions before 0.2 do not say. */
  readonly agentAway?: boolean;
}

/** `assign/<kind>/<name>`. */
export interface AssignmentRecord {
  readonly host: string | null;
  readonly incarnation: number;
  readonly epoch: number;
  readonly state: 'assigned' | 'draining' | 'unplaced';
  readonly cause: Cause;
  readonly reason: string;
  /** Of a draining one: where it goes next; null lets the leader choose. */
  readonly to: string | null;
  /**
   * Of a draining one: which move it is, so that an answer is one to this very move. It is the store revision
   * of the assignment that it began with. Versions before 0.2 do not say.
   */
  readonly move?: number;
  /** Record of the failover or move that made this assignment; null for a first placement. */
  readonly failover: string | null;
}

export type Cause = 'placed' | 'lease-expired' | 'move' | 'drain';

export type Phase = 'unplaced' | 'starting' | 'running' | 'stopping' | 'failed';

/** `report/<host>`: what the host's agent did about its assignments. */
export interface ReportRecord {
  readonly incarnation: number;
  /** Of a controller: whether its pulse grants leases to every host that is there. */
  readonly granting?: boolean;
  /** The set of controllers under which its pulse holds the lease; absent: the first. */
  readonly set?: number;
  /** This incarnation has held its lease: a majority of controllers heard it. It stays so. */
  readonly leased?: boolean;
  /** Roles that are to move here, for which this host has ready what may be. */
  readonly ready?: readonly ReadyReport[];
  readonly personalities: readonly PersonalityReport[];
  readonly services: readonly ServiceReport[];
  /** Member health as seen where the member is. */
  readonly health: readonly {
    readonly service: string;
    readonly personality: string;
    readonly epoch: number;
    readonly up: boolean;
    /** Of one that is down: what its check saw. Versions before 0.2 do not say. */
    readonly why?: string;
    /** Of one that is back and has not its whole weight yet; slow-start.ts. */
    readonly step?: number;
  }[];
  /** What its dispatcher has counted of each service, some seconds ago. */
  readonly traffic?: readonly TrafficReport[];
}

/** Packets to a service's MAC: each is in `forwarded`, `passed` or `dropped`. */
export interface TrafficReport {
  readonly service: string;
  readonly received: number;
  /** Empty where there are too many members to be told. */
  readonly forwarded: readonly {
    readonly personality: string;
    readonly packets: number;
    readonly bytes: number;
    /** TCP connections begun, and UDP flows where they are sticky. */
    readonly newFlows: number;
    /** Between the last two readings; absent until there are two. */
    readonly perSecond?: MemberRate;
  }[];
  readonly passed: number;
  readonly dropped: Readonly<Record<string, number>>;
  /** It is dispatched by nftables, with its hash, and not by BPF. */
  readonly by?: 'nftables';
}

export interface MemberRate {
  readonly packets: number;
  readonly bytes: number;
  readonly newFlows: number;
}

export interface ReadyReport {
  /** As in `roleId`. */
  readonly role: string;
  /** As its assignment says. */
  readonly move: number;
}

export interface PersonalityReport {
  readonly name: string;
  readonly epoch: number;
  readonly phase: Phase;
  /** Why it is in this phase, when that is not plain. */
  readonly detail: string;
  readonly volumes: readonly VolumeReport[];
  /** Ends of its workload in a row; absent: it is well, or of a version before 0.2. */
  readonly failures?: { readonly count: number; readonly last: string };
}

export interface VolumeReport {
  readonly name: string;
  readonly lun: number;
  readonly device: string;
  readonly mount: string;
  readonly portal: string;
  readonly target: string;
  readonly targetLun: number;
  readonly serial: string;
  readonly sizeBytes: number;
  /** Key of the persistent reservation that fences it; absent where the target's mask does. */
  readonly reservation?: string | undefined;
  /** Why it stands still just now: no portal answers, or one does and its session is not logged in. Absent: it does not, or it is too early to say. */
  readonly trouble?: string | undefined;
}

export interface ServiceReport {
  readonly name: string;
  readonly epoch: number;
  readonly phase: Phase;
  readonly detail: string;
}

/** `mask/<target>`: what the target lets in now. Written by understudy-target only. */
export interface MaskRecord {
  readonly personality: string;
  readonly host: string | null;
  readonly epoch: number;
  readonly initiator: string | null;
  readonly tookMs: number;
  readonly error?: string;
  /**
   * The last planned move of its personality that the target has answered to, as the assignment says; null:
   * none. Versions before 0.2 do not say.
   */
  readonly move?: number | null;
}

/** `failovers/<id>`, written in the transaction that commits it. */
export interface FailoverRecord {
  readonly id: string;
  readonly kind: RoleKind;
  readonly name: string;
  readonly from: string | null;
  readonly fromIncarnation: number;
  readonly to: string;
  readonly epoch: number;
  readonly cause: Cause;
  readonly reason: string;
  readonly evidence: readonly {
    readonly controller: string;
    readonly lastAckAgoMs: number | null;
  }[];
  readonly committedBy: string;
  /** Wall clock, for people. */
  readonly atUnixMs: number;
  /**
   * Boot clock of the committing host, ms: zero of the record (the newest acknowledgement that any
   * voter gave), votes complete, commit sent.
   */
  readonly zeroMs: number;
  readonly votedMs: number;
  readonly commitMs: number;
  readonly bootId: string;
}

/** `steps/<failover>/<who>`: what one host did for it, on its own boot clock. */
export interface StepsRecord {
  readonly host: string;
  readonly bootId: string;
  /** When the commit reached this host. */
  readonly heardMs: number;
  readonly steps: readonly StepRecord[];
  readonly outcome?: 'ok' | 'failed';
  readonly detail?: string;
}

export interface StepRecord {
  readonly name: StepName;
  readonly startMs: number;
  readonly endMs: number;
  readonly ok: boolean;
  readonly detail?: string;
}

export type StepName =
  | 'detect'
  | 'decide'
  | 'fence'
  | 'network'
  | 'storage'
  | 'announce'
  | 'workload'
  | 'verify';

/** `events/<id>`. */
export interface EventRecord {
  readonly atUnixMs: number;
  readonly host: string;
  readonly kind: string;
  readonly subject: string;
  readonly text: string;
}

export type ChangeKind =
  | 'apply'
  | 'move'
  | 'drain'
  | 'undrain'
  | 'fenced'
  | 'key'
  | 'pulse-restart'
  | 'reservation';

/** `audit/<id>`: a change that a person asked for. Written in the transaction of that change. */
export interface AuditRecord {
  readonly atUnixMs: number;
  readonly who: string;
  readonly from: string;
  readonly what: ChangeKind;
  readonly subject: string;
  readonly detail: string;
}

/** `drained/<host>`. */
export interface DrainRecord {
  readonly atUnixMs: number;
}

/** `volume/<name>`. */
export interface VolumeRecord {
  readonly serial: string;
}
