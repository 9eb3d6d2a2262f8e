import type { Application } from '../control/apply.js';
import { electorateOf, electorsOf } from '../control/electorate.js';
import { decideHandover } from '../control/handover.js';
import {
  allocationKey,
  assignmentKey,
  configKey,
  controllerSetsKey,
  failoverKey,
  hostKey,
} from '../control/keys.js';
import type { AssignmentRecord, ConfigRecord } from '../control/records.js';
import { decideStewardship, type Stewardship } from '../control/stewardship.js';
import { type Kept, parseRoleId, type Role, roleId, type View } from '../control/view.js';

/** Something that is written to the store, by whoever writes it. */
export interface Write {
  readonly key: string;
  readonly text: string;
  readonly why: string;
  /** The key is deleted. */
  readonly gone?: boolean;
}

export interface Foresight {
  /** The store once everybody has done what follows. */
  readonly view: View;
  readonly writes: readonly Write[];
  readonly holds: Stewardship['holds'];
}

/** No decision needs more rounds than roles can move; a few for each are plenty. */
const roundsEachRole = 6;

/**
 * Lets the leader and the owners decide, by their own code, until nobody has anything left to do.
 * Whatever they would do to hosts that fail meanwhile is not foreseen.
 */
export function settle(start: View): Foresight {
  let view = start;
  const writes: Write[] = [];
  const write = (role: Role, next: AssignmentRecord, why: string) => {
    view = assigned(view, role, next);
    writes.push({ key: assignmentKey(role.kind, role.name), text: assignmentText(next), why });
  };
  const config = view.config?.value.config;
  const roles = view.assignments.size + (config?.personalities.length ?? 0);
  const mostRounds = roundsEachRole * (roles + (config?.services.length ?? 0) + 1);
  for (let round = 0; round < mostRounds; round++) {
    const decided = decideStewardship(view, {
      nowMs: Number.MAX_SAFE_INTEGER, // patience for hosts that are late is over
      leaderSinceMs: 0,
      liveness: { lapsed: new Set() },
    });
    for (const { role, next, reason } of decided.rewrites) write(role, next, reason);
    const handed = handOvers(view);
    for (const { role, next, record } of handed) {
      write(role, next, next.reason);
      if (record === null) continue;
      const why = `the record of ${role.name}'s move`;
      writes.push({ key: failoverKey(record), text: `${role.name} to ${next.host}`, why });
    }
    if (decided.rewrites.length + handed.length === 0) {
      return { view, writes, holds: decided.holds };
    }
  }
  return { view, writes, holds: [] };
}

/** What owners that were asked to let go write when they have. */
function handOvers(view: View) {
  return [...view.assignments].flatMap(([id, { value }]) => {
    if (value.state !== 'draining') return [];
    const role = parseRoleId(id);
    const clock = { nowMs: 0, unixMs: 0, drainStartedMs: 0, bootId: '' };
    const decided = decideHandover(view, role, { ...clock, me: value.host ?? '' });
    if (decided === undefined) return [];
    return [{ role, next: decided.next, record: decided.record?.id ?? null }];
  });
}

/** The store right after `apply` wrote the definition, with the hosts that enrol because of it. */
export function applied(view: View, application: Application): Foresight {
  const { config, allocation } = application;
  const writes: Write[] = [
    { key: configKey, text: `generation ${config.generation}`, why: 'the file' },
    { key: allocationKey, text: 'vMACs and dispatch seeds', why: 'the file' },
  ];
  writes.push(...changeWrites(view, config));
  const hosts = new Map(view.hosts);
  const reports = new Map(view.reports);
  const { set = 0 } = config.controllers ?? {};
  for (const { name } of config.config.hosts) {
    // An agent that has said what its kernel can do is there, and waits to be in the definition.
    if (hosts.has(name) || !view.features.has(name)) continue;
    const { enforce: enforced } = config.config.fencing;
    hosts.set(name, kept({ incarnation: 1, bootToken: '', enforced }));
    const nothing = { personalities: [], services: [], health: [] };
    reports.set(name, kept({ incarnation: 1, set, leased: true, ...nothing }));
    const why = 'its agent runs and is in the definition now';
    writes.push({ key: hostKey(name), text: 'incarnation 1', why });
  }
  return {
    view: { ...view, config: kept(config), allocation: kept(allocation), hosts, reports },
    writes,
    holds: [],
  };
}

/** What a change of controllers writes on its way (src/control/controllers-change.ts). */
function changeWrites(view: View, next: ConfigRecord): readonly Write[] {
  const { set = 0, from = null } = next.controllers ?? {};
  if (set === (view.config?.value.controllers?.set ?? 0)) return [];
  const why = `controllers: ${next.config.controllers.join(', ')}`;
  const read = electorsOf(electorateOf(next)).map((name) => ({
    key: controllerSetsKey(name),
    text: from?.includes(name) ? 'has read the change, refuses the old set' : 'has read the change',
    why,
  }));
  if (from === null) return read;
  const text = 'the new controllers alone, one lease after the old set is refused';
  return [...read, { key: configKey, text, why }];
}

function assigned(view: View, role: Role, next: AssignmentRecord): View {
  const assignments = new Map(view.assignments);
  assignments.set(roleId(role), kept(next));
  return { ...view, assignments };
}

/** Revisions only guard transactions against others; here is nobody else. */
function kept<T>(value: T): Kept<T> {
  return { value, revision: 0 };
}

function assignmentText({ host, epoch, state, to }: AssignmentRecord): string {
  if (state === 'draining') {
    return `${host} is asked to let go of epoch ${epoch}${to === null ? '' : `, next is ${to}`}`;
  }
  return `epoch ${epoch} on ${host ?? 'no host'}`;
}
