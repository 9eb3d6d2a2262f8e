import { refused } from './refusals.js';
import { mostMembers } from './table.js';

/** Room for a name in `dispatch_names`, zero at its end. */
export const nameBytes = 64;

/**
 * Which slot of the counters is whose. A member keeps its slot for as long as there is room, also
 * while it is not in the service, so that its counters go on; then those of former members are given
 * away, the lowest first.
 */
export interface MemberSlots {
  /** By slot; '' for a free one. */
  readonly names: readonly string[];
  /** Slots that have a new owner: their counters start at zero. */
  readonly fresh: readonly number[];
}

/** @throws {UnderstudyError} US_DISPATCH_SPEC */
export function assignSlots(
  service: string,
  before: readonly string[],
  members: readonly string[],
): MemberSlots {
  const names = [...before];
  const present = new Set(members);
  const held = new Set(before);
  const fresh: number[] = [];
  for (const member of members) {
    if (held.has(member)) continue;
    if (Buffer.byteLength(member) >= nameBytes) {
      throw refused(service, `the name ${member} is too long`, `use less than ${nameBytes} bytes`);
    }
    const slot = freeSlot(names, present);
    if (slot === undefined) {
      throw refused(service, `more than ${mostMembers} members`, 'split the service');
    }
    names[slot] = member;
    held.add(member);
    fresh.push(slot);
  }
  return { names, fresh };
}

function freeSlot(names: readonly string[], present: ReadonlySet<string>): number | undefined {
  const unused = names.indexOf('');
  if (unused >= 0) return unused;
  if (names.length < mostMembers) return names.length;
  const former = names.findIndex((name) => !present.has(name));
  return former < 0 ? undefined : former;
}
