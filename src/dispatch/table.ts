import { refused } from './refusals.js';
import { drawSlots, mostExactMembers } from './rendezvous.js';
import { siphash } from './siphash.js';
import type { DispatchMember, DispatchSpec } from './types.js';

/** Prime, as Maglev wants it; native/dispatch.h has the same. */
export const slotCount = 65_537;
/** In a slot: nobody can take it. */
export const noMember = 0xffff;
/** No secret: a client's slot is one, by the service's seed. So services with the same members share a table. */
const tableKey = Buffer.from('understudy table');
/** native/dispatch.h has the same. */
export const mostMembers = 1024;
const seedPattern = /^[0-9a-f]{32}$/;

/** What decides which member a slot goes to: members in the order their indices mean, and slots. */
export interface DispatchTable {
  /** Sorted by name; in this order on every host, whatever the order in the cluster file. */
  readonly members: readonly DispatchMember[];
  /** Index into members, or noMember. */
  readonly slots: Uint16Array;
}

/**
 * The table of a service: the same on every host that knows the same members, weights and health, so
 * that a dispatcher's failover moves no flow.
 *
 * With few members each slot's member is drawn (rendezvous.ts): a change moves exactly what it must.
 * With many it is Maglev's (Eisenbud and others, NSDI 2016): each member has its own order in which it
 * would take all slots, and in turn takes the first one still free. A member that comes or goes moves
 * little more than its own share, and shares are even. Weights are shares of the turns.
 *
 * Members that are down, draining (weight 0) or without a MAC yet take no slot; when that is everybody,
 * packets are dropped: sending them to a member that is known not to answer would only make the client
 * wait longer.
 *
 * @throws {UnderstudyError} US_DISPATCH_SPEC
 */
export function buildTable(spec: TableSpec): DispatchTable {
  const members = [...spec.members].sort(byName);
  if (members.length > mostMembers) {
    throw refused(
      spec.service,
      `${members.length} members; ${mostMembers} is the most`,
      'split the service in the cluster file',
    );
  }
  const slots = new Uint16Array(slotCount).fill(noMember);
  const takers = members.flatMap((member, index) =>
    takesFlows(member) ? [{ member, index }] : [],
  );
  if (takers.length === 0) return { members, slots };
  if (members.length <= mostExactMembers) {
    const candidates = takers.map(({ member: { personality, weight }, index }) => ({
      name: personality,
      weight,
      index,
    }));
    drawSlots(tableKey, candidates, slots);
  } else {
    deal(
      takers.map(({ member, index }) => new Taker(tableKey, member, index)),
      slots,
    );
  }
  return { members, slots };
}

/** Whether new flows may go there. */
export function takesFlows({ healthy, weight, mac }: DispatchMember): boolean {
  return healthy && weight > 0 && mac !== '';
}

/** The part of a spec that a table is made of. */
export type TableSpec = Pick<DispatchSpec, 'service' | 'members'>;

/** A member taking its turns. */
class Taker {
  readonly index: number;
  readonly weight: number;
  readonly #step: number;
  #next: number;
  /** Sum of weights at which its next turn comes. */
  due = 0;

  constructor(key: Uint8Array, { personality, weight }: DispatchMember, index: number) {
    this.index = index;
    this.weight = weight;
    const { high, low } = siphash(key, Buffer.from(`member ${personality}`));
    this.#next = low % slotCount;
    this.#step = (high % (slotCount - 1)) + 1;
  }

  /** Takes its first slot that is still free: there is one, since the step is prime to the count. */
  take(slots: Uint16Array): void {
    let slot = this.#next;
    while (slots[slot] !== noMember) slot = this.#after(slot);
    slots[slot] = this.index;
    this.#next = this.#after(slot);
  }

  #after(slot: number): number {
    const next = slot + this.#step;
    return next >= slotCount ? next - slotCount : next;
  }
}

/** Rounds of turns until every slot is dealt; in each, a member of half the greatest weight has half a turn. */
function deal(takers: readonly Taker[], slots: Uint16Array): void {
  const greatest = takers.reduce((most, { weight }) => Math.max(most, weight), 0);
  let dealt = 0;
  for (let round = 1; ; round += 1) {
    for (const taker of takers) {
      if (round * taker.weight < taker.due) continue;
      taker.due += greatest;
      taker.take(slots);
      dealt += 1;
      if (dealt === slotCount) return;
    }
  }
}

/** How many slots each member has, every member named. @throws {UnderstudyError} US_DISPATCH_SPEC */
export function slotsByMember(spec: TableSpec): Map<string, number> {
  const { members, slots } = buildTable(spec);
  const counts = new Array<number>(members.length).fill(0);
  for (const index of slots) {
    if (index !== noMember) counts[index] = (counts[index] ?? 0) + 1;
  }
  return new Map(members.map(({ personality }, index) => [personality, counts[index] ?? 0]));
}

/**
 * How many of the 65,537 slots, so which part of all clients, a change gives to another member.
 *
 * @throws {UnderstudyError} US_DISPATCH_SPEC
 */
export function movedSlots(before: TableSpec, after: TableSpec): number {
  const old = buildTable(before);
  const young = buildTable(after);
  const names = (table: DispatchTable) => table.members.map(({ personality }) => personality);
  const [oldNames, youngNames] = [names(old), names(young)];
  let moved = 0;
  for (let slot = 0; slot < slotCount; slot += 1) {
    const from = oldNames[old.slots[slot] ?? noMember];
    const to = youngNames[young.slots[slot] ?? noMember];
    if (from !== to) moved += 1;
  }
  return moved;
}

/** The 16 bytes of the seed. @throws {UnderstudyError} US_DISPATCH_SPEC */
export function keyOf({ service, seed }: DispatchSpec): Buffer {
  if (seedPattern.test(seed)) return Buffer.from(seed, 'hex');
  throw refused(service, 'it has no seed of 32 hex digits yet', 'run understudy apply again');
}

/** By code units, not by the reader's language: every host must get the same order. */
function byName(one: DispatchMember, other: DispatchMember): number {
  return one.personality < other.personality ? -1 : one.personality > other.personality ? 1 : 0;
}
