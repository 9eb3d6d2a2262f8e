import { type Layout, Planner } from './layout.js';
import { mostExactMembers } from './rendezvous.js';
import { packRing } from './ring-bytes.js';
import type { Tables } from './table-shelf.js';
import type { DispatchSpec } from './types.js';

/** With more members one rehearsal would hold the agent up for longer than it may save. */
const mostMembers = 64;
/** Of all services together, so that they end before something happens. */
const mostRehearsals = 16;

/** A service's member whose health is taken to have changed. */
export interface Rehearsed {
  readonly service: string;
  readonly member: number;
}

/**
 * Which changes to rehearse: of each set of members every single one that may go down or come back, or the
 * first alone where all would be too many.
 */
export function rehearsals(specs: Iterable<DispatchSpec>): readonly Rehearsed[] {
  const pools = new Map<string, DispatchSpec>();
  for (const spec of specs) {
    const names = spec.members.map(({ personality }) => personality).sort();
    if (names.length <= mostMembers) pools.set(names.join(), spec);
  }
  return [...pools.values()]
    .flatMap(({ service, members }) =>
      members
        .slice(0, members.length <= mostExactMembers ? members.length : 1)
        .map((_, member) => ({ service, member })),
    )
    .slice(0, mostRehearsals);
}

/**
 * Plans the change and packs its ring, and throws both away. What stays is the table, on the shelf, and code
 * that is compiled: V8 interprets a loop of 65,537 rounds at first, and forgets what it compiled when it did
 * not run for some collections of garbage. Cold, a change takes five to eight times as long.
 */
export function rehearse(layout: Layout, spec: DispatchSpec, member: number, tables: Tables): void {
  const planner = new Planner(layout, 0, tables);
  const members = spec.members.map((one, at) =>
    at === member ? { ...one, healthy: !one.healthy } : one,
  );
  planner.put({ ...spec, members });
  const planned = planner.finish().layout;
  for (const [slot, { ring }] of planned.rings) {
    if (layout.rings.get(slot)?.ring === ring) continue;
    packRing(ring, (mac) => planned.ids.indexOf(mac), 0);
  }
}
