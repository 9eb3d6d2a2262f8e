import type { Inherited } from './memory.js';
import { refused } from './refusals.js';
import { nextRing, type Pool, type Ring } from './ring.js';
import { mostIds } from './ring-bytes.js';
import { groupPlaces, mostServices, packService } from './state-bytes.js';
import { buildTable } from './table.js';
import type { Tables } from './table-shelf.js';
import type { DispatchSpec } from './types.js';

/** As many as `dispatch_rings` has. */
const mostRings = 256;
/** As many as `dispatch_traffic` has, by groups. */
export const mostGroups = 1024;
/** Then they are counted from 0 again; what was recorded so long ago is gone. */
export const mostBirths = 65_536;
const defaultDrainMs = 300_000;

export interface PlacedRing {
  /** Where it stands in `dispatch_rings`. */
  readonly slot: number;
  /** Of its pool: services with the same one share it. */
  readonly poolKey: string;
  readonly ring: Ring;
}

export interface PlacedService {
  readonly number: number;
  /** Counts services that came to this host: records of an earlier one are void. */
  readonly birth: number;
  /** As `packService` makes it. */
  readonly bytes: Buffer;
  /** Slot of its ring. */
  readonly ring: number;
  /** Groups of its counters. */
  readonly groups: readonly number[];
}

/** All that this host dispatches by: what is in the kernel, or is to be. */
export interface Layout {
  readonly services: ReadonlyMap<string, PlacedService>;
  /** By slot. */
  readonly rings: ReadonlyMap<number, PlacedRing>;
  /** MACs of members by ID. */
  readonly ids: readonly string[];
  /** MACs of dispatchers elsewhere. */
  readonly others: readonly string[];
  /** Of services, so far. */
  readonly births: number;
  /** What places had counted when they got a new owner, by `placeKey`: its counters start there. */
  readonly counted: ReadonlyMap<string, Counted>;
}

/** Packets, bytes, new flows. */
export type Counted = readonly [number, number, number];

export function placeKey(group: number, place: number): string {
  return `${group}/${place}`;
}

export const emptyLayout: Layout = {
  services: new Map(),
  rings: new Map(),
  ids: [],
  others: [],
  births: 0,
  counted: new Map(),
};

/** Counters that have a new owner since `before`: they are to start at zero. */
export interface Fresh {
  readonly groups: readonly number[];
  readonly places: readonly { readonly group: number; readonly place: number }[];
  readonly services: readonly number[];
}

/**
 * Next layouts. Rings are shared, and kept apart from those of the layout that packets go by: a ring
 * that is in use is never written to.
 */
export class Planner {
  readonly #before: Layout;
  readonly #nowMs: number;
  readonly #tables: Tables;
  readonly #services: Map<string, PlacedService>;
  readonly #rings = new Map<number, PlacedRing>();
  /** By the ring it came from and its pool. */
  readonly #made = new Map<string, number>();
  readonly #ids: string[];
  #others: readonly string[];
  #births: number;
  readonly #fresh = {
    groups: [] as number[],
    places: [] as { group: number; place: number }[],
    services: [] as number[],
  };

  constructor(before: Layout, nowMs: number, tables: Tables = buildTable) {
    this.#before = before;
    this.#nowMs = nowMs;
    this.#tables = tables;
    this.#services = new Map(before.services);
    this.#ids = [...before.ids];
    this.#others = before.others;
    this.#births = before.births;
  }

  /**
   * @param inherited what another host's dispatcher of a service knew that is new here
   * @throws {UnderstudyError} US_DISPATCH_SPEC
   */
  put(spec: DispatchSpec, inherited?: Omit<Inherited, 'flows'>): void {
    const bytes = packService(spec);
    const pool = { members: spec.members, drainMs: spec.drainMs ?? defaultDrainMs };
    const before = this.#services.get(spec.service);
    this.#others = spec.otherDispatchers ?? this.#others;
    const number = before?.number ?? this.#freeNumber(spec.service);
    const ring =
      before === undefined && inherited?.ring !== undefined
        ? this.#place(inherited.ring, undefined, pool, spec.service)
        : this.#ringFor(before?.ring, pool, spec.service);
    if (before === undefined) {
      this.#fresh.services.push(number);
      this.#births = (this.#births + 1) % mostBirths;
    }
    const birth = before?.birth ?? inherited?.birth ?? this.#births;
    const groups = this.#groupsFor(spec.service, before, ring);
    this.#services.set(spec.service, { number, birth, bytes, ring, groups });
  }

  remove(service: string): void {
    this.#services.delete(service);
  }

  /** Rings that time has changed are replaced by their successors, those of no service go. */
  finish(): { readonly layout: Layout; readonly fresh: Fresh } {
    for (const [name, service] of this.#services) {
      const { ring } = this.#ringAt(service.ring);
      const slot = this.#ringFor(service.ring, ring.pool, name);
      if (slot !== service.ring) this.#services.set(name, { ...service, ring: slot });
    }
    const used = [...this.#services.values()].map(({ ring }) => ring);
    const rings = new Map(used.map((slot) => [slot, this.#ringAt(slot)]));
    const layout = {
      services: this.#services,
      rings,
      ids: this.#ids,
      others: this.#others,
      births: this.#births,
      counted: this.#before.counted,
    };
    return { layout, fresh: this.#fresh };
  }

  #ringAt(slot: number): PlacedRing {
    const ring = this.#rings.get(slot) ?? this.#before.rings.get(slot);
    if (ring === undefined) throw new Error(`ring ${slot} is not there`);
    return ring;
  }

  #ringFor(from: number | undefined, pool: Pool, service: string): number {
    const poolKey = keyOfPool(pool);
    const old = from === undefined ? undefined : this.#ringAt(from);
    if (from !== undefined && old?.poolKey === poolKey && !this.#isDue(from, old)) return from;
    const madeKey = `${from ?? ''} ${poolKey}`;
    const made = this.#made.get(madeKey) ?? (old === undefined ? this.#find(poolKey) : undefined);
    if (made !== undefined) return made;
    const slot = this.#place(old?.ring, from, pool, service);
    this.#made.set(madeKey, slot);
    return slot;
  }

  /** @param from slot of the ring before, where it is this host's */
  #place(before: Ring | undefined, from: number | undefined, pool: Pool, service: string): number {
    const ring = nextRing(before, pool, this.#nowMs, service, this.#tables);
    for (const { mac } of ring.places) if (mac !== '') this.#giveId(mac, service);
    const slot = this.#freeSlot(service);
    this.#rings.set(slot, { slot, poolKey: keyOfPool(pool), ring });
    if (from === undefined) return slot;
    for (const [place, { personality }] of ring.places.entries()) {
      const was = before?.places[place];
      if (was === undefined || was.personality === personality) continue;
      this.#freshPlace(from, place);
    }
    return slot;
  }

  /** Made at an earlier time, and that time has passed. */
  #isDue(slot: number, { ring }: PlacedRing): boolean {
    if (this.#rings.has(slot)) return false;
    return ring.lookMs <= this.#nowMs;
  }

  #find(poolKey: string): number | undefined {
    for (const rings of [this.#rings, this.#before.rings]) {
      for (const { slot, poolKey: other } of rings.values()) if (other === poolKey) return slot;
    }
    return undefined;
  }

  #freshPlace(ring: number, place: number): void {
    for (const service of this.#services.values()) {
      const group = service.groups[Math.floor(place / groupPlaces)];
      if (service.ring === ring && group !== undefined) {
        this.#fresh.places.push({ group, place: place % groupPlaces });
      }
    }
  }

  #freeSlot(service: string): number {
    for (let slot = 0; slot < mostRings; slot += 1) {
      if (!this.#rings.has(slot) && !this.#before.rings.has(slot)) return slot;
    }
    throw tooMany(service, `${mostRings} sets of members`);
  }

  #freeNumber(service: string): number {
    const used = new Set([...this.#services.values()].map(({ number }) => number));
    for (let number = 0; number < mostServices; number += 1) if (!used.has(number)) return number;
    throw tooMany(service, `${mostServices} services`);
  }

  #groupsFor(name: string, before: PlacedService | undefined, ring: number): readonly number[] {
    const groups = [...(before?.groups ?? [])];
    const wanted = Math.ceil(this.#ringAt(ring).ring.places.length / groupPlaces);
    if (groups.length >= wanted) return groups;
    const used = new Set([...this.#services.values()].flatMap((service) => service.groups));
    for (let group = 0; group < mostGroups && groups.length < wanted; group += 1) {
      if (used.has(group)) continue;
      groups.push(group);
      this.#fresh.groups.push(group);
    }
    if (groups.length < wanted) throw tooMany(name, `${mostGroups * groupPlaces} counters`);
    return groups;
  }

  #giveId(mac: string, service: string): void {
    if (this.#ids.includes(mac)) return;
    if (this.#ids.length < mostIds) {
      this.#ids.push(mac);
      return;
    }
    const used = new Set(
      [...this.#rings.values(), ...this.#before.rings.values()].flatMap(({ ring }) =>
        ring.places.map((place) => place.mac),
      ),
    );
    // What is recorded for its former owner is old by then.
    const id = this.#ids.findIndex((other) => !used.has(other));
    if (id < 0) throw tooMany(service, `${mostIds} members`);
    this.#ids[id] = mac;
  }
}

/** Members in one order, whatever theirs in the file. */
function keyOfPool({ members, drainMs }: Pool): string {
  const parts = members.map(({ personality, mac, weight, healthy, here = false }) => [
    personality,
    mac,
    weight,
    healthy,
    here,
  ]);
  parts.sort(([one = ''], [other = '']) => (one < other ? -1 : 1));
  return JSON.stringify([drainMs, parts]);
}

/** When the layout is next to be looked at although nothing changed; Infinity: never. */
export function lookAgainMs({ rings }: Layout): number {
  return [...rings.values()].reduce(
    (next, { ring }) => Math.min(next, ring.lookMs),
    Number.POSITIVE_INFINITY,
  );
}

function tooMany(service: string, what: string): Error {
  return refused(service, `this host has room for ${what}`, 'split the services between pools');
}
