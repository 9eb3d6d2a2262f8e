import { deflateRawSync, inflateRawSync } from 'node:zlib';
import type { Counted, Layout, PlacedService } from './layout.js';
import { refused } from './refusals.js';
import type { Place, Pool, Ring, RingTimes } from './ring.js';

/** Room for them in `dispatch_notes`: length in front, then deflated JSON. */
export const notesBytes = 262_144;

/** What a later process must know of a layout and cannot read from the other maps. */
interface Notes {
  readonly services: readonly {
    readonly name: string;
    readonly number: number;
    readonly birth: number;
    readonly ring: number;
    readonly groups: readonly number[];
  }[];
  readonly rings: readonly {
    readonly slot: number;
    readonly poolKey: string;
    readonly pool: Pool;
    readonly places: readonly (Omit<Place, 'keepsUntilMs'> & {
      /** null: Infinity, which JSON has not. */
      readonly keepsUntilMs: number | null;
    })[];
    readonly windowUntilMs: number;
    readonly recordedUntilMs: number;
    readonly lookMs: number | null;
  }[];
  readonly ids: readonly string[];
  readonly others: readonly string[];
  readonly births: number;
  readonly counted: readonly (readonly [string, Counted])[];
}

export function packNotes(layout: Layout): Buffer {
  const notes: Notes = {
    services: [...layout.services].map(([name, { number, birth, ring, groups }]) => ({
      name,
      number,
      birth,
      ring,
      groups,
    })),
    rings: [...layout.rings.values()].map(({ slot, poolKey, ring }) => {
      const { pool, places, windowUntilMs, recordedUntilMs, lookMs } = ring;
      return { slot, poolKey, pool, places, windowUntilMs, recordedUntilMs, lookMs };
    }),
    ids: layout.ids,
    others: layout.others,
    births: layout.births,
    counted: [...layout.counted],
  };
  const deflated = deflateRawSync(JSON.stringify(notes), { level: 1 });
  if (deflated.length + 4 > notesBytes) {
    throw refused('of this host', 'too many services and members to keep note of', 'use fewer');
  }
  const bytes = Buffer.alloc(notesBytes);
  bytes.writeUInt32LE(deflated.length);
  deflated.copy(bytes, 4);
  return bytes;
}

/**
 * @param serviceBytes of a service, by its number
 * @param ringOf reads the ring at a slot
 */
export function unpackNotes(
  bytes: Buffer,
  serviceBytes: (number: number) => Buffer,
  ringOf: (slot: number, noted: RingTimes & Pick<Ring, 'pool' | 'places'>) => Ring,
): Layout {
  const length = bytes.readUInt32LE();
  const text = inflateRawSync(bytes.subarray(4, 4 + length)).toString();
  const notes = JSON.parse(text) as Notes;
  const never = Number.POSITIVE_INFINITY;
  const services = notes.services.map(({ name, number, birth, ring, groups }) => {
    const placed: PlacedService = { number, birth, ring, groups, bytes: serviceBytes(number) };
    return [name, placed] as const;
  });
  const rings = notes.rings.map(({ slot, poolKey, places, lookMs, ...noted }) => {
    const ring = ringOf(slot, {
      ...noted,
      places: places.map((place) => ({ ...place, keepsUntilMs: place.keepsUntilMs ?? never })),
      lookMs: lookMs ?? never,
    });
    return [slot, { slot, poolKey, ring }] as const;
  });
  return {
    services: new Map(services),
    rings: new Map(rings),
    ids: notes.ids,
    others: notes.others,
    births: notes.births,
    counted: new Map(notes.counted),
  };
}
