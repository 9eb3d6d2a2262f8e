import type { ClusterConfig } from '../config/types.js';
import { isJoining } from './eligible.js';
import { lookup } from './lookup.js';
import { type CalledOff, type MoveState, noMoves } from './moving.js';
import { type HoldReason, type Liveness, Survey } from './placement.js';
import type { AssignmentRecord, Cause } from './records.js';
import { parseRoleId, type Role, roleId, type View } from './view.js';
import { enrolledIncarnations } from './votes.js';

/** A new leader waits at most this long for a pool's hosts to be up before it places anything. */
export const placementPatienceMs = 5_000;

/** One assignment to be written; the transaction compares the revisions it rests on. */
export interface Rewrite {
  readonly role: Role;
  /** undefined: the assignment must not exist yet. */
  readonly assignmentRevision: number | undefined;
  readonly configRevision: number;
  readonly toHostRevision: number | undefined;
  readonly next: AssignmentRecord;
  readonly reason: string;
}

export interface Stewardship {
  readonly rewrites: readonly Rewrite[];
  readonly holds: readonly {
    readonly role: Role;
    readonly reason: HoldReason | 'waiting-for-hosts';
  }[];
  readonly wakeAtMs: number | undefined;
}

/**
 * What the leader does when nothing has failed: places what has no host, takes away what the
 * cluster file no longer names, empties drained hosts one role at a time.
 */
export function decideStewardship(
  view: View,
  now: { readonly nowMs: number; readonly leaderSinceMs: number; readonly liveness: Liveness },
  moves: MoveState = noMoves,
): Stewardship {
  if (view.config === undefined) return { rewrites: [], holds: [], wakeAtMs: undefined };
  const { config } = view.config.value;
  const placing = placeUnplaced(view, config, now);
  const moving = [
    ...takeAwayRemoved(view, config),
    ...emptyDrained(view, config, now.liveness, moves),
  ];
  return { ...placing, rewrites: [...placing.rewrites, ...moving] };
}

/** Placed in one round, at most: what comes in between is looked at before the rest. */
const mostPlacements = 32;

/** Each choice sees the load that those before it bring. */
function placeUnplaced(
  view: View,
  config: ClusterConfig,
  now: { readonly nowMs: number; readonly leaderSinceMs: number; readonly liveness: Liveness },
): Stewardship {
  const holds: Stewardship['holds'][number][] = [];
  const inPools = config.hosts.filter(({ pool }) => pool !== null);
  const waiting = inPools.some(({ name }) => !view.hosts.has(name));
  const joining = inPools.some(({ name }) => isJoining(view, name));
  const patientUntilMs = now.leaderSinceMs + placementPatienceMs;
  const rewrites: Rewrite[] = [];
  let survey: Survey | undefined;
  for (const role of lookup(config).roles) {
    if (rewrites.length >= mostPlacements) break;
    const kept = view.assignments.get(roleId(role));
    if (kept !== undefined && kept.value.host !== null) continue;
    // When everything starts, all would go to whoever had the first lease. What worked before does not wait.
    const early = waiting || (joining && kept === undefined);
    if (early && now.nowMs < patientUntilMs) {
      return {
        rewrites: [],
        holds: [{ role, reason: 'waiting-for-hosts' }],
        wakeAtMs: patientUntilMs,
      };
    }
    survey ??= new Survey(view, config, now.liveness);
    // A leader that no host reaches doubts them all: its role would wait for as long as it leads.
    const certain = survey.choose(role);
    const choice = certain.kind === 'place' ? certain : survey.choose(role, new Set(), true);
    if (choice.kind === 'hold') {
      holds.push({ role, reason: certain.kind === 'hold' ? certain.reason : choice.reason });
      continue;
    }
    const rewrite: Rewrite = {
      role,
      assignmentRevision: kept?.revision,
      configRevision: view.config?.revision ?? 0,
      toHostRevision: view.hosts.get(choice.host)?.revision,
      next: {
        host: choice.host,
        incarnation: choice.incarnation,
        epoch: (kept?.value.epoch ?? 0) + 1,
        state: 'assigned',
        cause: 'placed',
        reason: choice.reason,
        to: null,
        failover: null,
      },
      reason: choice.reason,
    };
    rewrites.push(rewrite);
    survey.note(role, rewrite.next);
  }
  return { rewrites, holds, wakeAtMs: undefined };
}

function takeAwayRemoved(view: View, config: ClusterConfig): readonly Rewrite[] {
  const { personalities, services } = lookup(config);
  return [...view.assignments].flatMap(([id, kept]) => {
    if (kept.value.state !== 'assigned') return [];
    const role = parseRoleId(id);
    if ((role.kind === 'service' ? services : personalities).has(role.name)) return [];
    return draining(view, role, null, 'move', 'no longer in the cluster file');
  });
}

function emptyDrained(
  view: View,
  config: ClusterConfig,
  liveness: Liveness,
  { restingRoles, restingHosts }: MoveState,
): readonly Rewrite[] {
  if (view.drained.size === 0) return [];
  const { roles } = lookup(config);
  for (const role of roles) {
    const kept = view.assignments.get(roleId(role));
    if (kept?.value.state === 'draining') return []; // one at a time
  }
  const survey = new Survey(view, config, { ...liveness, lapsed: trusted(view, liveness) });
  for (const role of roles) {
    const kept = view.assignments.get(roleId(role));
    if (kept === undefined || kept.value.host === null) continue;
    if (kept.value.state !== 'assigned' || !view.drained.has(kept.value.host)) continue;
    if (restingRoles.has(roleId(role))) continue;
    const choice = survey.choose(role, new Set([kept.value.host, ...restingHosts.keys()]));
    if (choice.kind === 'hold') continue;
    return draining(view, role, choice.host, 'drain', `${kept.value.host} is drained`);
  }
  return [];
}

/** Of several hosts a leader that hears no other one is what is cut off: what it misses says nothing of them. */
function trusted(view: View, { lapsed }: Liveness): ReadonlySet<string> {
  const enrolled = enrolledIncarnations(view);
  const missed = enrolled.filter((id) => lapsed.has(id)).length;
  return missed >= 2 && missed >= enrolled.length - 1 ? new Set() : lapsed;
}

/**
 * Asks the owner to stop in good order and hand over: the owner itself writes the next assignment,
 * when it holds nothing any more. Should it die over this, its votes decide as ever.
 */
export function draining(
  view: View,
  role: Role,
  to: string | null,
  cause: Cause,
  reason: string,
): readonly Rewrite[] {
  const kept = view.assignments.get(roleId(role));
  if (kept === undefined || kept.value.host === null || view.config === undefined) return [];
  return [
    {
      role,
      assignmentRevision: kept.revision,
      configRevision: view.config.revision,
      toHostRevision: undefined,
      next: {
        ...kept.value,
        state: 'draining',
        to,
        cause,
        reason,
        ...(to === null ? {} : { move: kept.revision }),
      },
      reason,
    },
  ];
}

/**
 * The role stays with its owner, under the same epoch: nothing that runs is touched. Where the owner has
 * begun to let go after all, its hand-over finds another revision, and it takes the role up again.
 */
export function stays(view: View, { role, reason }: CalledOff): readonly Rewrite[] {
  const kept = view.assignments.get(roleId(role));
  if (kept?.value.state !== 'draining' || view.config === undefined) return [];
  const { move: _, ...value } = kept.value;
  return [
    {
      role,
      assignmentRevision: kept.revision,
      configRevision: view.config.revision,
      toHostRevision: undefined,
      next: { ...value, state: 'assigned', to: null, reason },
      reason,
    },
  ];
}
