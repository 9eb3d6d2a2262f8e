import type { ClusterConfig } from '../config/types.js';
import { isEligible } from './eligible.js';
import { lookup } from './lookup.js';
import { currentReport } from './reports.js';
import { parseRoleId, type Role, roleId, type View } from './view.js';

/**
 * Why the owner of a role that is to move must not let go of it yet; undefined: it may.
 *
 * The role is down from when the owner lets go until the next host has it, and nobody may take it from a
 * host with a lease. So those who are needed then have to say first that they have heard of this very
 * move: the next host, which has ready what may be, and each target whose mask is to change. Whoever is
 * cut off from the store cannot.
 */
export function awaited(view: View, role: Role): Awaited | undefined {
  const kept = view.assignments.get(roleId(role));
  const config = view.config?.value.config;
  if (kept === undefined || config === undefined) return undefined;
  const { to, move } = kept.value;
  // To nobody: it has left the file. Without a number: a version asks for it that waits for nobody.
  if (to === null || move === undefined) return undefined;
  const incarnation = view.hosts.get(to)?.value.incarnation;
  const named = incarnation !== undefined && lookup(config).hosts.has(to);
  if (!named || !isEligible(view, to, incarnation))
    return { what: 'up', reason: `${to} is not up` };
  // It would be moved on at once.
  if (view.drained.has(to)) return { what: 'up', reason: `${to} is drained` };
  // An agent of a version that does not tell counts as one that is ready.
  if (view.features.get(to)?.value.tellsReady === true) {
    const ready = currentReport(view, to, incarnation)?.ready ?? [];
    const told = ready.some((one) => one.role === roleId(role) && one.move === move);
    if (!told) return { what: 'ready', reason: `${to} does not say that it is ready` };
  }
  const reason = targetAwaited(view, config, role, move);
  return reason === undefined ? undefined : { what: 'target', reason };
}

export interface Awaited {
  /** That the next host is up, and not drained; that it says it is ready; that a target answers. */
  readonly what: 'up' | 'ready' | 'target';
  readonly reason: string;
}

function targetAwaited(
  view: View,
  config: ClusterConfig,
  role: Role,
  move: number,
): string | undefined {
  if (role.kind !== 'personality') return undefined;
  const { personalities, volumes } = lookup(config);
  for (const { volume: name } of personalities.get(role.name)?.storage ?? []) {
    const volume = volumes.get(name);
    if (volume === undefined || volume.fence === 'reservation') continue;
    const mask = view.masks.get(volume.target)?.value;
    // None: it is no mask of ours. Without `move`: of a version that does not tell.
    if (mask?.move === undefined) continue;
    if (mask.error !== undefined) return `target ${volume.target} is in trouble: ${mask.error}`;
    if (mask.move !== move) return `target ${volume.target} does not answer`;
  }
  return undefined;
}

/** A move that its owner has not begun after this time is called off. */
export const moveBoundMs = 10_000;
/** And a drain does not try it again for this long. */
export const moveRestMs = 30_000;

/** What a leader remembers of moves; it begins with nothing. */
export interface MoveState {
  /** By role: the move that is asked for, and since when this leader knows; its boot clock, ms. */
  readonly asked: ReadonlyMap<string, { readonly move: number; readonly sinceMs: number }>;
  /** Roles that a drain leaves where they are until then; boot clock, ms. */
  readonly restingRoles: ReadonlyMap<string, number>;
  /** Hosts that a drain moves nothing to until then. */
  readonly restingHosts: ReadonlyMap<string, number>;
}

export const noMoves: MoveState = {
  asked: new Map(),
  restingRoles: new Map(),
  restingHosts: new Map(),
};

/** How the reason begins that stands with a role whose move was called off. */
export const notMoved = 'not moved to';

export interface CalledOff {
  readonly role: Role;
  readonly reason: string;
}

/**
 * Which moves are called off because they cannot be completed, or were begun by a drain that is taken
 * back, and when to look again. The role stays where it is: its owner has not let go. Once it has begun to, the move is left to it.
 */
export function decideCallingOff(
  state: MoveState,
  view: View,
  nowMs: number,
): { state: MoveState; calledOff: readonly CalledOff[]; wakeAtMs: number | undefined } {
  const asked = new Map<string, { readonly move: number; readonly sinceMs: number }>();
  const restingRoles = later(state.restingRoles, nowMs);
  const restingHosts = later(state.restingHosts, nowMs);
  const calledOff: CalledOff[] = [];
  const boundsMs: number[] = [];
  for (const [id, { value }] of view.assignments) {
    const { host, to, move } = value;
    const role = parseRoleId(id);
    if (value.state !== 'draining' || to === null || move === undefined) continue;
    if (hasBegun(view, role)) continue;
    if (value.cause === 'drain' && host !== null && !view.drained.has(host)) {
      calledOff.push({ role, reason: `${notMoved} ${to}: ${host} is drained no longer` });
      continue;
    }
    const known = state.asked.get(id);
    const sinceMs = known?.move === move ? known.sinceMs : nowMs;
    asked.set(id, { move, sinceMs });
    const why = awaited(view, role);
    if (why?.what !== 'up' && nowMs < sinceMs + moveBoundMs) {
      boundsMs.push(sinceMs + moveBoundMs);
      continue;
    }
    calledOff.push({
      role,
      reason: `${notMoved} ${to}: ${why?.reason ?? `${host} does not let go`}`,
    });
    if (why?.what === 'ready') restingHosts.set(to, nowMs + moveRestMs);
    else if (why?.what !== 'up') restingRoles.set(id, nowMs + moveRestMs);
  }
  const wakesMs = [...boundsMs, ...restingRoles.values(), ...restingHosts.values()];
  return {
    state: { asked, restingRoles, restingHosts },
    calledOff,
    wakeAtMs: wakesMs.length === 0 ? undefined : Math.min(...wakesMs),
  };
}

const later = (untilMs: ReadonlyMap<string, number>, nowMs: number): Map<string, number> =>
  new Map([...untilMs].filter(([, endMs]) => endMs > nowMs));

/** Its owner says that it stops the role: it is down already, or will be at once. */
function hasBegun(view: View, role: Role): boolean {
  const assignment = view.assignments.get(roleId(role))?.value;
  const report = currentReport(view, assignment?.host, assignment?.incarnation);
  const roles = role.kind === 'service' ? report?.services : report?.personalities;
  const told = roles?.find(({ name }) => name === role.name);
  return told?.epoch === assignment?.epoch && told?.phase === 'stopping';
}
