import type { AuditRecord, EventRecord, TrafficReport } from '../control/records.js';
import type { Status } from '../control/status.js';
import type { Timeline } from '../control/timeline.js';

import type { Actor } from '../operate/audit.js';
import type { Drained } from '../operate/drain.js';
import type { Fenced } from '../operate/fenced.js';
import type { Moved } from '../operate/move.js';
import type { Plan } from '../plan/types.js';

/** What the API shows; an agent hands it in. Nothing here changes anything. */
export interface ApiSource {
  readonly host: string;
  readonly version: string;
  /** Whether the store and this host's pulse answer now. */
  health(): Promise<{ readonly store: boolean; readonly pulse: boolean }>;
  /** What the agent last heard of the store; undefined before a cluster file was applied. */
  status(): Promise<Status | undefined>;
  /** Newest first. */
  failovers(): readonly Timeline[];
  /** The newest `most`, newest last. */
  events(most: number): Promise<readonly EventRecord[]>;
  /** The newest, newest last. */
  audit(most: number): Promise<readonly AuditRecord[]>;
  /** The newest change that somebody asked for. */
  lastChange(): AuditRecord | undefined;
  lease(): Promise<LeaseFacts | undefined>;
  /** What this host's dispatcher counted, of each service that it dispatches now. */
  dispatched(): Promise<readonly TrafficReport[]>;
  /** Hosts that are told what this host's dispatcher remembers of flows, and how old that is there; null: nothing yet. */
  standbys(): readonly { readonly host: string; readonly ageMs: number | null }[];
}

/** What the API lets operators do; an agent hands it in. Each throws what the command of that name does. */
export interface ApiOperations {
  /** `id` stands for this file on top of what stands now. @throws US_API_FILE, US_API_BUSY */
  plan(file: string): Promise<Plan & { readonly id: string }>;
  /** @throws US_API_PLAN when the definition is no longer the one that the plan was made for */
  apply(
    file: string,
    plan: string,
    actor: Actor,
  ): Promise<{ readonly cluster: string; readonly generation: number }>;
  move(personality: string, to: string | undefined, actor: Actor): Promise<Moved>;
  drain(wished: Drained, actor: Actor): Promise<Drained>;
  fenced(host: string, actor: Actor): Promise<Fenced>;
}

/** What this host's pulse says. */
export interface LeaseFacts {
  /** Until this host's frames stop, if nothing renews the lease; null before the first majority. */
  readonly remainingMs: number | null;
  /** On a controller: how long ago each host was last acknowledged; null for never. */
  readonly hosts: readonly { readonly host: string; readonly lastAckAgoMs: number | null }[];
  /** What pulse counted since its start: packets by what became of them. */
  readonly counters: Readonly<Record<string, number>>;
}
