import type { ClusterConfig } from '../config/types.js';
import { isEligible } from './eligible.js';
import { parseRoleId, roleId, type View } from './view.js';

/** What is prepared costs memory and a little time: not for a thousand personalities. */
export const mostKeptReady = 16;

/**
 * Personalities that this host would get if their hosts failed now, the most important first: of
 * its pool's spares it is the one that placement would choose (src/control/placement.ts). What it
 * prepares for them is a saving of time only; where another host is chosen after all, that one
 * starts from nothing.
 */
export function rolesToKeepReady(
  view: View,
  config: ClusterConfig,
  host: string,
): readonly string[] {
  const pool = config.hosts.find(({ name }) => name === host)?.pool;
  if (pool === undefined || pool === null || firstSpare(view, config, pool) !== host) return [];
  return config.personalities
    .filter((one) => {
      const owner = view.assignments.get(`personality/${one.name}`)?.value.host;
      return one.pool === pool && owner !== null && owner !== undefined && owner !== host;
    })
    .sort((a, b) => b.priority - a.priority || (a.name < b.name ? -1 : 1))
    .slice(0, mostKeptReady)
    .map(({ name }) => roleId({ kind: 'personality', name }));
}

/** Of the hosts without a personality the one with the fewest dispatchers; ties go by name. */
function firstSpare(view: View, config: ClusterConfig, pool: string): string | undefined {
  const dispatchers = new Map<string, number>();
  const busy = new Set<string>();
  for (const [id, { value }] of view.assignments) {
    for (const host of [value.host, value.to]) {
      if (host === null) continue;
      if (parseRoleId(id).kind === 'personality') busy.add(host);
      else dispatchers.set(host, (dispatchers.get(host) ?? 0) + 1);
    }
  }
  const spares = config.hosts
    .filter(({ name, pool: its }) => {
      const record = view.hosts.get(name)?.value;
      if (its !== pool || record === undefined || busy.has(name)) return false;
      return !view.drained.has(name) && isEligible(view, name, record.incarnation);
    })
    .map(({ name }) => ({ name, load: dispatchers.get(name) ?? 0 }))
    .sort((a, b) => a.load - b.load || (a.name < b.name ? -1 : 1));
  return spares[0]?.name;
}
