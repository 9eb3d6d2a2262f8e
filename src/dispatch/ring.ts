import { assignSlots } from './member-slots.js';
import { buildTable, noMember, slotCount, takesFlows } from './table.js';
import type { Tables } from './table-shelf.js';
import type { DispatchMember } from './types.js';

/** What services that share a ring have in common. */
export interface Pool {
  readonly members: readonly DispatchMember[];
  readonly drainMs: number;
}

/** A member's place in a ring; it keeps it while there is room, also when it is no member any more. */
export interface Place {
  readonly personality: string;
  readonly mac: string;
  readonly here: boolean;
  /** It keeps flows that it has until then: Infinity for who takes new ones, 0 for who is down. */
  readonly keepsUntilMs: number;
}

/** In `previous`: flows that nobody recorded are the slot's own member's. */
export const nobody = 0xffff;
/** Eras are counted up to this, and then from 0 again. */
const mostEras = 32;

/** Flows of this slot are looked up: some may be another member's than the slot's. */
const tracked = 1;
/** And stay so when no previous member is left: flows were recorded with several. */
const mixed = 2;

/**
 * Which member each slot goes to, and whose the flows are that were there before.
 *
 * Just-enough tracking: a slot that a change gives to another member is *tracked* for one drain time.
 * In it a connection that begins goes to the new member and is recorded; a packet of one that nobody
 * recorded belongs to the previous member, and is recorded as that. Afterwards no more is recorded, and
 * what was recorded holds for as long as its member does. All other slots need no memory at all.
 *
 * A second change keeps the previous member of a slot that is tracked already: whoever began in
 * between was recorded, so those that were not are still the first one's.
 */
export interface Ring extends RingTimes {
  readonly pool: Pool;
  /** By place. */
  readonly places: readonly Place[];
  /** Place, or noMember. */
  readonly slots: Uint16Array;
  /** Place, or nobody. */
  readonly previous: Uint16Array;
  readonly flags: Uint8Array;
  /**
   * How often each slot began to be tracked. What was recorded in an earlier era is void: since then
   * the same port may have begun another connection, which nobody recorded.
   */
  readonly eras: Uint8Array;
}

export interface RingTimes {
  /** Packets that are not recorded go to `previous` until then. */
  readonly windowUntilMs: number;
  /** Then recorded flows are forgotten. */
  readonly recordedUntilMs: number;
  /** When it is next to be looked at although nothing changed; Infinity: never. */
  readonly lookMs: number;
}

const dayMs = 86_400_000;
const never = Number.POSITIVE_INFINITY;

export function isTracked(ring: Ring, slot: number): boolean {
  return (ring.flags[slot] ?? 0) !== 0;
}

/** Whether a flow that this place has may stay. */
export function keepsFlows(place: Place | undefined, nowMs: number): boolean {
  return place !== undefined && place.keepsUntilMs > nowMs;
}

/**
 * The ring after `before`, for what its members are now; also when nothing changed but the time.
 *
 * @param label for messages: a service that goes by it
 * @throws {UnderstudyError} US_DISPATCH_SPEC
 */
export function nextRing(
  before: Ring | undefined,
  pool: Pool,
  nowMs: number,
  label: string,
  tables: Tables = buildTable,
): Ring {
  const places = nextPlaces(before, pool, nowMs, label);
  const placeOf = new Map(places.map(({ personality }, place) => [personality, place]));
  const table = tables({ service: label, members: pool.members });
  const placeOfIndex = Uint16Array.from(
    table.members.map(({ personality }) => placeOf.get(personality) ?? noMember),
  );
  const slots = placesOf(table.slots, placeOfIndex);
  const previous = new Uint16Array(slotCount).fill(nobody);
  const flags = new Uint8Array(slotCount);
  const eras = before?.eras.slice() ?? new Uint8Array(slotCount);
  const ring = { pool, places, slots, previous, flags, eras };
  if (before === undefined) return { ...ring, windowUntilMs: 0, recordedUntilMs: 0, lookMs: never };
  const moved = moveSlots(before, ring, nowMs);
  const windowUntilMs = moved ? nowMs + pool.drainMs : before.windowUntilMs;
  const recordedUntilMs = moved ? windowUntilMs + dayMs : before.recordedUntilMs;
  const ends = places.map(({ keepsUntilMs }) => keepsUntilMs);
  if (flags.includes(tracked) || flags.includes(tracked | mixed))
    ends.push(windowUntilMs, recordedUntilMs);
  const lookMs = ends.reduce((next, at) => (at > nowMs && at < next ? at : next), never);
  return { ...ring, windowUntilMs, recordedUntilMs, lookMs };
}

/** Fills in previous members and flags. @returns whether a slot changed hands */
function moveSlots(
  before: Ring,
  { places, slots, previous, flags, eras }: Omit<Ring, keyof RingTimes | 'pool'>,
  nowMs: number,
): boolean {
  // A place may have been given away: what was its former member's is not its new one's.
  const keeps = new Uint8Array(nobody + 1);
  for (const [at, place] of places.entries()) {
    const same = place.personality === before.places[at]?.personality;
    if (same && keepsFlows(place, nowMs)) keeps[at] = 1;
  }
  const inWindow = nowMs < before.windowUntilMs;
  const remembers = nowMs < before.recordedUntilMs;
  const old = { slots: before.slots, previous: before.previous, flags: before.flags };
  return movedSlots(old, { slots, previous, flags, eras }, keeps, inWindow, remembers);
}

type Slots = Pick<Ring, 'slots' | 'previous' | 'flags'>;

/** Of numbers alone, so that V8 keeps what it compiled whatever rings are like. */
function movedSlots(
  before: Slots,
  { slots, previous, flags, eras }: Slots & Pick<Ring, 'eras'>,
  keeps: Uint8Array,
  inWindow: boolean,
  remembers: boolean,
): boolean {
  let moved = false;
  for (let slot = 0; slot < slotCount; slot += 1) {
    const now = slots[slot] ?? noMember;
    const old = before.slots[slot] ?? noMember;
    const oldFlags = before.flags[slot] ?? 0;
    if (now === old && oldFlags === 0) continue;
    const oldPrevious = before.previous[slot] ?? nobody;
    if (now !== old) moved = true;
    const previousKeeps = oldPrevious !== nobody && keeps[oldPrevious] === 1;
    const from = previousKeeps && inWindow ? oldPrevious : now !== old ? old : nobody;
    const isMixed =
      (remembers && (oldFlags & mixed) !== 0) ||
      (oldFlags !== 0 && now !== old) ||
      (previousKeeps && !inWindow);
    if (keeps[from] === 1) {
      previous[slot] = from;
      flags[slot] = tracked;
    }
    if (isMixed) flags[slot] = tracked | mixed;
    if (oldFlags === 0 && flags[slot] !== 0) eras[slot] = ((eras[slot] ?? 0) + 1) % mostEras;
  }
  return moved;
}

/** Each slot's index, translated. */
function placesOf(slots: Uint16Array, placeOfIndex: Uint16Array): Uint16Array {
  const places = new Uint16Array(slotCount);
  for (let slot = 0; slot < slotCount; slot += 1) {
    const index = slots[slot] ?? noMember;
    places[slot] = index === noMember ? noMember : (placeOfIndex[index] ?? noMember);
  }
  return places;
}

function nextPlaces(
  before: Ring | undefined,
  pool: Pool,
  nowMs: number,
  label: string,
): readonly Place[] {
  const old = before?.places ?? [];
  const byName = new Map(pool.members.map((member) => [member.personality, member]));
  const { names } = assignSlots(
    label,
    old.map(({ personality }) => personality),
    pool.members.map(({ personality }) => personality),
  );
  return names.map((personality, place) => {
    const was = old[place]?.personality === personality ? old[place] : undefined;
    const member = byName.get(personality);
    return {
      personality,
      mac: member?.mac ?? was?.mac ?? '',
      here: member?.here ?? false,
      keepsUntilMs: keepsUntil(was, member, pool.drainMs, nowMs),
    };
  });
}

function keepsUntil(
  was: Place | undefined,
  member: DispatchMember | undefined,
  drainMs: number,
  nowMs: number,
): number {
  if (member !== undefined && takesFlows(member)) return never;
  if (was === undefined) return 0;
  // Down: whom it had, has lost them.
  if (member !== undefined && (!member.healthy || member.mac === '')) return 0;
  return Math.min(was.keepsUntilMs, nowMs + drainMs);
}
