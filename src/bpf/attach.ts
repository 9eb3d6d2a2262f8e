import { UnderstudyError } from '../errors.js';
import { type ProgramInfo, programInfo, programInfoById } from '../ffi/bpf.js';
import {
  attachFilter,
  detachFilter,
  ensureHooks,
  type Hook,
  queryFilter,
} from '../ffi/bpf-filter.js';
import { atInterface, type InterfacePlace } from './at-interface.js';

/** Where a filter of ours sits: its priority and handle are ours in this place. */
export interface FilterSpot extends InterfacePlace {
  readonly hook: Hook;
  readonly priority: number;
  readonly handle: number;
}

/**
 * Makes sure that this program, or the same code on the same maps from an earlier process, runs at
 * `spot` (so all of its maps should be pinned). One of ours with other code or maps is swapped in one step, with no packet in between.
 *
 * @throws {UnderstudyError} US_BPF_TAKEN when somebody else's program is there; US_BPF_ATTACH
 */
export function ensureFilter(spot: FilterSpot, programFd: number): 'kept' | 'attached' {
  return inside(spot, (index) => {
    ensureHooks(index);
    const place = { ...spot, interfaceIndex: index };
    const id = queryFilter(place);
    const there = id === undefined ? undefined : programInfoById(id);
    const own = programInfo(programFd);
    if (there !== undefined && there.name !== own.name) throw taken(spot, there);
    if (there !== undefined && isAsGood(there, own)) return 'kept';
    attachFilter(place, programFd, there !== undefined);
    return 'attached';
  });
}

/**
 * Takes our filter away; what is not ours, and the qdisc, stays.
 *
 * @param programName what it must be called
 */
export function removeFilter(spot: FilterSpot, programName: string): void {
  inside(spot, (index) => {
    const place = { ...spot, interfaceIndex: index };
    const id = queryFilter(place);
    if (id !== undefined && programInfoById(id)?.name === programName) detachFilter(place);
  });
}

/**
 * Names of the programs at these spots of one NIC; undefined where there is none.
 *
 * @throws {UnderstudyError} US_BPF_ATTACH
 */
export function filterNames(spots: readonly FilterSpot[]): readonly (string | undefined)[] {
  return spots.map((spot) =>
    inside(spot, (index) => {
      const id = queryFilter({ ...spot, interfaceIndex: index });
      return id === undefined ? undefined : programInfoById(id)?.name;
    }),
  );
}

function isAsGood(there: ProgramInfo, own: ProgramInfo): boolean {
  return there.tag === own.tag && own.mapIds.every((id) => there.mapIds.includes(id));
}

function inside<T>(spot: FilterSpot, action: (index: number) => T): T {
  const words = {
    action: 'cannot attach BPF program to',
    object: describe(spot),
    remedy: `see what is there: ${tcCommand(spot)}; a kernel needs CONFIG_NET_CLS_BPF and CONFIG_NET_SCH_INGRESS`,
  };
  return atInterface(spot, words, action);
}

function taken(spot: FilterSpot, there: ProgramInfo): UnderstudyError {
  return new UnderstudyError({
    code: 'US_BPF_TAKEN',
    action: 'cannot attach BPF program to',
    object: describe(spot),
    cause: `priority ${spot.priority}, handle ${spot.handle} has program ${there.name} (id ${there.id}), which is not ours`,
    remedy: `move that filter to another priority; ${tcCommand(spot)} shows it`,
  });
}

function describe({ interfaceName, hook, namespacePath }: FilterSpot): string {
  return `${hook} of ${interfaceName}${namespacePath === undefined ? '' : ` in ${namespacePath}`}`;
}

function tcCommand({ namespacePath, interfaceName, hook }: FilterSpot): string {
  const inNamespace = namespacePath === undefined ? '' : `nsenter --net=${namespacePath} `;
  return `${inNamespace}tc filter show dev ${interfaceName} ${hook}`;
}
