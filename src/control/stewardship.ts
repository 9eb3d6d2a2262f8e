import type { ClusterConfig } from '../config/types.js';
import { emptyDrained, type Stuck } from './drains.js';
import { isJoining } from './eligible.js';
import { lookup } from './lookup.js';
import { type MoveState, noMoves } from './moving.js';
import { type HoldReason, type Liveness, Survey } from './placement.js';
import { draining, type Rewrite } from './rewrites.js';
import { parseRoleId, type Role, roleId, type View } from './view.js';

/** A new leader waits at most this long for a pool's hosts to be up before it places anything. */
export const placementPatienceMs = 5_000;

export interface Stewardship {
  readonly rewrites: readonly Rewrite[];
  readonly holds: readonly {
    readonly role: Role;
    readonly reason: HoldReason | 'waiting-for-hosts';
  }[];
  /** What drained hosts keep. */
  readonly stuck: readonly Stuck[];
  readonly wakeAtMs: number | undefined;
}

/**
 * What the leader does when nothing has failed: places what has no host, takes away what the
 * cluster file no longer names, empties drained hosts.
 */
export function decideStewardship(
  view: View,
  now: { readonly nowMs: number; readonly leaderSinceMs: number; readonly liveness: Liveness },
  moves: MoveState = noMoves,
): Stewardship {
  if (view.config === undefined) return { rewrites: [], holds: [], stuck: [], wakeAtMs: undefined };
  const { config } = view.config.value;
  const placing = placeUnplaced(view, config, now);
  const drains = emptyDrained(view, config, now.liveness, moves, placing.rewrites);
  const moving = [...takeAwayRemoved(view, config), ...drains.rewrites];
  return { ...placing, rewrites: [...placing.rewrites, ...moving], stuck: drains.stuck };
}

/** Placed in one round, at most: what comes in between is looked at before the rest. */
const mostPlacements = 32;

/** Each choice sees the load that those before it bring. */
function placeUnplaced(
  view: View,
  config: ClusterConfig,
  now: { readonly nowMs: number; readonly leaderSinceMs: number; readonly liveness: Liveness },
): Omit<Stewardship, 'stuck'> {
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
