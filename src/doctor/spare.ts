import type { ClusterConfig } from '../config/types.js';
import { choosePlacement } from '../control/placement.js';
import type { Status } from '../control/status.js';
import { parseRoleId, type View } from '../control/view.js';
import { type Finding, ok, problem, warning } from './types.js';

/** Would every role of each host find another? Asked of the code that decides it. */
export function spare(view: View, config: ClusterConfig, status: Status): Finding {
  const doubled: string[] = [];
  const stuck: string[] = [];
  const up = status.hosts.filter(({ state }) => state === 'up');
  for (const { name: failed } of up) {
    for (const [id, { value }] of view.assignments) {
      if (value.host !== failed) continue;
      const role = parseRoleId(id);
      const choice = choosePlacement(view, config, role, { lapsed: new Set() }, new Set([failed]));
      if (choice.kind === 'hold')
        stuck.push(`${role.name} when ${failed} fails (${choice.reason})`);
      else if (role.kind === 'personality') {
        const carried = up.find(({ name }) => name === choice.host)?.personalities.length ?? 0;
        if (carried > 0) doubled.push(`${role.name} would join others on ${choice.host}`);
      }
    }
  }
  if (stuck.length > 0) {
    return problem(
      `nobody could take over ${stuck.join('; ')}`,
      'power on, undrain or add hosts of their pool',
    );
  }
  return doubled.length === 0
    ? ok('any one host may fail: a spare takes over')
    : warning(
        `no spare left: ${doubled.join('; ')}`,
        'add a host to the pool, or accept shared hosts',
      );
}
