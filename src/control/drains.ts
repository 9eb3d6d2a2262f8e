import type { ClusterConfig } from '../config/types.js';
import { lookup } from './lookup.js';
import type { MoveState } from './moving.js';
import { type HoldReason, type Liveness, Survey } from './placement.js';
import { draining, type Rewrite } from './rewrites.js';
import { type Role, roleId, type View } from './view.js';
import { enrolledIncarnations } from './votes.js';

/**
 * Roles on their way at once, at most, moves that were asked for included: each is down for a moment, and
 * those who take them over get ready for each.
 */
export const mostUnderWay = 4;

/** A role that a drain leaves where it is, because nobody could take it. */
export interface Stuck {
  readonly role: Role;
  readonly host: string;
  readonly reason: HoldReason;
}

/** Of a drain: what moves now, and what cannot. */
export interface Drains {
  readonly rewrites: readonly Rewrite[];
  readonly stuck: readonly Stuck[];
}

/**
 * Empties drained hosts, one role at a time each. They do not wait for one another: an owner that hangs
 * over letting go holds up its own host's drain alone.
 *
 * @param placed what is placed in the same round
 */
export function emptyDrained(
  view: View,
  config: ClusterConfig,
  liveness: Liveness,
  { restingRoles, restingHosts }: MoveState,
  placed: readonly Rewrite[],
): Drains {
  if (view.drained.size === 0) return { rewrites: [], stuck: [] };
  const { roles } = lookup(config);
  const underWay = ownersLettingGo(view, config);
  const busy = new Set(underWay);
  const survey = new Survey(view, config, { ...liveness, lapsed: trusted(view, liveness) });
  for (const { role, next } of placed) survey.note(role, next);
  const rewrites: Rewrite[] = [];
  const stuck: Stuck[] = [];
  for (const role of roles) {
    if (underWay.length + rewrites.length >= mostUnderWay) break;
    const value = view.assignments.get(roleId(role))?.value;
    if (value?.state !== 'assigned' || value.host === null) continue;
    const { host } = value;
    if (!view.drained.has(host) || busy.has(host) || restingRoles.has(roleId(role))) continue;
    const choice = survey.choose(role, new Set([host, ...restingHosts.keys()]));
    if (choice.kind === 'hold') {
      // Who only rests was told of when its move was called off.
      const ever = survey.choose(role, new Set([host]));
      if (ever.kind === 'hold') stuck.push({ role, host, reason: ever.reason });
      continue;
    }
    for (const rewrite of draining(view, role, choice.host, 'drain', `${host} is drained`)) {
      rewrites.push(rewrite);
      survey.note(role, rewrite.next);
      busy.add(host);
    }
  }
  return { rewrites, stuck };
}

/** Of each role that is on its way, the host that has it or lets go of it. */
export function ownersLettingGo(view: View, config: ClusterConfig): readonly string[] {
  return lookup(config).roles.flatMap((role) => {
    const value = view.assignments.get(roleId(role))?.value;
    return value?.state === 'draining' && value.host !== null ? [value.host] : [];
  });
}

/** By role: the reason that was told of it. */
export type Told = ReadonlyMap<string, string>;

/** What is to be told of roles that stay: each once for a drain and a reason. */
export function tellStuck(
  before: Told,
  view: View,
  stuck: readonly Stuck[],
): { readonly told: Told; readonly news: readonly Stuck[] } {
  const isDrained = (id: string) => view.drained.has(view.assignments.get(id)?.value.host ?? '');
  const told = new Map([...before].filter(([id]) => isDrained(id)));
  const news = stuck.filter(({ role, reason }) => told.get(roleId(role)) !== reason);
  for (const { role, reason } of news) told.set(roleId(role), reason);
  return { told, news };
}

/** Of several hosts a leader that hears no other one is what is cut off: what it misses says nothing of them. */
function trusted(view: View, { lapsed }: Liveness): ReadonlySet<string> {
  const enrolled = enrolledIncarnations(view);
  const missed = enrolled.filter((id) => lapsed.has(id)).length;
  return missed >= 2 && missed >= enrolled.length - 1 ? new Set() : lapsed;
}
