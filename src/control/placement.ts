import type { ClusterConfig, HostConfig } from '../config/types.js';
import { parseRoleId, type Role, roleId, type View } from './view.js';
import { standingVotes } from './votes.js';

/** Where a role goes, or why nowhere. */
export type Placement =
  | {
      readonly kind: 'place';
      readonly host: string;
      readonly incarnation: number;
      readonly reason: string;
    }
  | { readonly kind: 'hold'; readonly reason: HoldReason };

export type HoldReason =
  | 'no-spare-in-pool' // nobody in the pool is up, enrolled and not drained
  | 'no-room-in-pool' // those who are carry as much as they may
  | 'not-proven-silent' // its lease is not enforced, and nobody has switched it off
  | 'unknown-role'; // the configuration no longer names it

/** What placement needs to know besides the store: hosts whose promise this controller saw lapse. */
export interface Liveness {
  readonly lapsed: ReadonlySet<string>;
}

/**
 * Chooses a host for a role: of its pool, enrolled, nobody having voted against it, not drained, with
 * room for one more personality where the file bounds that.
 *
 * A personality prefers a spare (a host without any), then the least loaded; it avoids hosts of
 * other members of its services, so that one failure never takes two. A dispatcher prefers a host
 * that is in use already, so that spares stay spare, and one that carries no member of its service.
 * Ties go by name: every controller that sees the same view chooses the same host.
 */
export function choosePlacement(
  view: View,
  config: ClusterConfig,
  role: Role,
  liveness: Liveness,
  avoid: ReadonlySet<string> = new Set(),
): Placement {
  const pool = poolOf(config, role);
  if (pool === undefined) return { kind: 'hold', reason: 'unknown-role' };
  const up = config.hosts
    .filter((host) => host.pool === pool && !avoid.has(host.name))
    .flatMap((host) => {
      const record = view.hosts.get(host.name);
      if (record === undefined || view.drained.has(host.name)) return [];
      const { incarnation } = record.value;
      if (liveness.lapsed.has(`${host.name}/${incarnation}`)) return [];
      if (view.retired.has(`${host.name}/${incarnation}`)) return [];
      if (standingVotes(view, config, host.name, incarnation).length > 0) return [];
      const load = loadOf(view, config, role, host.name);
      return [{ host: host.name, incarnation, load, hasRoom: hasRoom(host, role, load) }];
    });
  const candidates = up
    .filter(({ hasRoom }) => hasRoom)
    .sort((a, b) => compareLoads(a.load, b.load) || (a.host < b.host ? -1 : 1));
  const best = candidates[0];
  if (best === undefined) {
    return { kind: 'hold', reason: up.length > 0 ? 'no-room-in-pool' : 'no-spare-in-pool' };
  }
  return {
    kind: 'place',
    host: best.host,
    incarnation: best.incarnation,
    reason: explain(role, best.load, candidates.length, pool),
  };
}

function hasRoom({ capacity }: HostConfig, role: Role, load: Load): boolean {
  return role.kind === 'service' || capacity === null || load[1] < capacity;
}

/** Smaller is better; compared from left to right. */
type Load = readonly [
  /** Members of a service this role belongs to that the host carries already. */
  siblings: number,
  /** Personality: how many are there. Dispatcher: 0 where the host is in use already, else 1. */
  first: number,
  /** Dispatcher: how many it dispatches; personality: how many it dispatches too. */
  second: number,
];

function loadOf(view: View, config: ClusterConfig, role: Role, host: string): Load {
  const siblings = siblingsOf(config, role);
  let personalities = 0;
  let dispatchers = 0;
  let shared = 0;
  for (const [id, { value }] of view.assignments) {
    if (value.host !== host && !(value.state === 'draining' && value.to === host)) continue;
    if (id === roleId(role)) continue;
    const other = parseRoleId(id);
    if (other.kind === 'service') dispatchers++;
    else personalities++;
    if (siblings.has(id)) shared++;
  }
  return role.kind === 'personality'
    ? [shared, personalities, dispatchers]
    : [shared, personalities > 0 ? 0 : 1, dispatchers];
}

/** Roles that should not share a host with this one. */
function siblingsOf(config: ClusterConfig, role: Role): ReadonlySet<string> {
  const siblings = new Set<string>();
  for (const service of config.services) {
    const members = service.members.map((member) => member.personality);
    const concerns =
      role.kind === 'service' ? service.name === role.name : members.includes(role.name);
    if (!concerns) continue;
    for (const member of members) {
      if (role.kind === 'personality' && member === role.name) continue;
      siblings.add(roleId({ kind: 'personality', name: member }));
    }
  }
  return siblings;
}

function poolOf(config: ClusterConfig, role: Role): string | undefined {
  return role.kind === 'personality'
    ? config.personalities.find((personality) => personality.name === role.name)?.pool
    : config.services.find((service) => service.name === role.name)?.pool;
}

function compareLoads(a: Load, b: Load): number {
  return a[0] - b[0] || a[1] - b[1] || a[2] - b[2];
}

function explain(role: Role, load: Load, candidates: number, pool: string): string {
  const among = `of ${candidates} in pool ${pool}`;
  if (role.kind === 'service') return `fewest dispatchers (${load[2]}) ${among}`;
  if (load[1] === 0)
    return candidates === 1 ? `the only spare in pool ${pool}` : `a spare, first ${among}`;
  return `least loaded (${load[1]} personalities) ${among}; no spare left`;
}
