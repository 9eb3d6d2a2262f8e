import type { ClusterConfig } from '../config/types.js';
import { mostUnderWay, ownersLettingGo } from './drains.js';
import { lookup } from './lookup.js';
import type { MoveState } from './moving.js';
import { type Liveness, Survey } from './placement.js';
import { currentReport } from './reports.js';
import { draining, type Rewrite } from './rewrites.js';
import { type Role, roleId, type View } from './view.js';

/** After the first such move of a personality the next one waits this long, then twice as long, and so on. */
export const firstRestMs = 60_000;
export const longestRestMs = 3_600_000;

/** What a leader remembers of a personality that left a host over its workload; a new one begins with nothing. */
interface Left {
  readonly restMs: number;
  /** Boot clock, ms. */
  readonly untilMs: number;
}
export type LeavingState = ReadonlyMap<string, Left>;

export interface Leaving {
  readonly state: LeavingState;
  readonly rewrites: readonly Rewrite[];
  /** Workloads that fail and stay, since nobody could take the personality. */
  readonly holds: readonly { readonly role: Role; readonly reason: string }[];
  readonly wakeAtMs: number | undefined;
}

/**
 * Personalities whose workload fails where they are, and whose file says that they are to try another host then
 * (`moveAfterFailures`): a move as planned, since the owner is alive and lets go in order.
 *
 * The workload may be at fault and not the host: so the time between two such moves of one personality is
 * doubled each time, and forgotten once it has been well for as long. And what it needs may be away, as for many
 * others: so few are under way at a time, as with drains.
 *
 * @param others what this leader writes in the same round
 */
export function leaveFailing(
  state: LeavingState,
  view: View,
  now: { readonly nowMs: number; readonly liveness: Liveness },
  moves: MoveState,
  others: readonly Rewrite[],
): Leaving {
  const config = view.config?.value.config;
  if (config === undefined) return { state, rewrites: [], holds: [], wakeAtMs: undefined };
  const next = new Map(
    [...state].filter(([, { restMs, untilMs }]) => now.nowMs < untilMs + restMs),
  );
  const rewrites: Rewrite[] = [];
  const holds: Leaving['holds'][number][] = [];
  const wakesMs: number[] = [];
  let survey: Survey | undefined;
  const taken = new Set(others.map(({ role }) => roleId(role)));
  const drains = others.filter(({ next }) => next.state === 'draining').length;
  const mostRewrites = mostUnderWay - ownersLettingGo(view, config).length - drains;
  for (const { role, host, why } of failing(view, config)) {
    const id = roleId(role);
    if (taken.has(id)) continue;
    const left = next.get(id);
    if (left !== undefined && now.nowMs < left.untilMs) {
      wakesMs.push(left.untilMs);
      continue;
    }
    if ((moves.restingRoles.get(id) ?? 0) > now.nowMs) continue;
    if (rewrites.length >= mostRewrites) break;
    survey ??= surveyAfter(view, config, now.liveness, others);
    const choice = survey.choose(role, new Set([host, ...moves.restingHosts.keys()]));
    if (choice.kind === 'hold') {
      // Without the count: it is told once.
      holds.push({ role, reason: `its workload fails, and it stays: ${choice.reason}` });
      continue;
    }
    for (const rewrite of draining(view, role, choice.host, 'move', `${why} on ${host}`)) {
      rewrites.push(rewrite);
      survey.note(role, rewrite.next);
      const restMs = Math.min(longestRestMs, left === undefined ? firstRestMs : 2 * left.restMs);
      next.set(id, { restMs, untilMs: now.nowMs + restMs });
    }
  }
  return {
    state: next,
    rewrites,
    holds,
    wakeAtMs: wakesMs.length === 0 ? undefined : Math.min(...wakesMs),
  };
}

/** As it will be when the others are written. */
function surveyAfter(
  view: View,
  config: ClusterConfig,
  liveness: Liveness,
  others: readonly Rewrite[],
): Survey {
  const survey = new Survey(view, config, liveness);
  for (const { role, next } of others) survey.note(role, next);
  return survey;
}

function failing(view: View, config: ClusterConfig) {
  return lookup(config).roles.flatMap((role) => {
    if (role.kind !== 'personality') return [];
    const most = lookup(config).personalities.get(role.name)?.moveAfterFailures;
    const assignment = view.assignments.get(roleId(role))?.value;
    if (most === undefined || assignment?.state !== 'assigned') return [];
    const { host, incarnation, epoch } = assignment;
    const report = currentReport(view, host, incarnation)?.personalities.find(
      (one) => one.name === role.name && one.epoch === epoch,
    );
    const { count = 0, last = '' } = report?.failures ?? {};
    if (host === null || count < most) return [];
    return [{ role, host, why: `its workload failed ${count} times in a row (${last})` }];
  });
}
