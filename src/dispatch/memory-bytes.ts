import { promisify } from 'node:util';
import { deflateRaw, inflateRaw } from 'node:zlib';
import { z } from 'zod';
import { nameBytes } from './member-slots.js';
import type { ServiceMemory } from './memory.js';
import { nobody, type Ring } from './ring.js';
import { mostMembers, noMember, slotCount } from './table.js';

const deflate = promisify(deflateRaw);
const inflate = promisify(inflateRaw);

/** Behind its length: JSON, then by slot the member (2 bytes), the previous one (2), flags, era. */
const slotsBytes = slotCount * 6;
const mostHeadBytes = 256 * 1024;
const mostBytes = 4 + mostHeadBytes + slotsBytes;
const mostEras = 32;
const allFlags = 3;
/** The longest drain, and what is recorded stays for a day after it. */
const longestMs = 2 * 86_400_000;
const never = Number.POSITIVE_INFINITY;

const left = z.number().min(0).max(longestMs);
const headSchema = z.strictObject({
  service: z.string().min(1).max(nameBytes),
  epoch: z.number().int().min(0),
  birth: z.number().int().min(0).max(0xffff),
  ring: z
    .strictObject({
      places: z
        .array(
          z.strictObject({
            personality: z.string().max(nameBytes),
            mac: z.union([z.literal(''), z.string().regex(/^[0-9a-f]{2}(:[0-9a-f]{2}){5}$/)]),
            /** null: it takes new flows. */
            keepsForMs: left.nullable(),
          }),
        )
        .max(mostMembers),
      windowForMs: left,
      recordedForMs: left,
    })
    .optional(),
});
type Head = z.infer<typeof headSchema>;

export interface TaggedMemory extends ServiceMemory {
  /** Of the assignment under which it came about. */
  readonly epoch: number;
}

/** A service's memory for another host: times become what is left of them. */
export function packMemory(
  { service, birth, ring, epoch }: TaggedMemory,
  nowMs: number,
): Promise<Buffer> {
  const leftOf = (atMs: number) => Math.min(Math.max(0, atMs - nowMs), longestMs);
  const head: Head = { service, epoch, birth };
  if (ring !== undefined) {
    head.ring = {
      places: ring.places.map(({ personality, mac, keepsUntilMs }) => ({
        personality,
        mac: mac.toLowerCase(),
        keepsForMs: Number.isFinite(keepsUntilMs) ? leftOf(keepsUntilMs) : null,
      })),
      windowForMs: leftOf(ring.windowUntilMs),
      recordedForMs: leftOf(ring.recordedUntilMs),
    };
  }
  const text = Buffer.from(JSON.stringify(head));
  const length = Buffer.alloc(4);
  length.writeUInt32LE(text.length);
  const slots =
    ring === undefined
      ? []
      : [bytesOf(ring.slots), bytesOf(ring.previous), bytesOf(ring.flags), bytesOf(ring.eras)];
  return deflate(Buffer.concat([length, text, ...slots]), { level: 1 });
}

/**
 * The same at the other host, in its own time.
 *
 * @throws when it is not what `packMemory` makes, whoever sent it
 */
export async function unpackMemory(packed: Buffer, nowMs: number): Promise<TaggedMemory> {
  const bytes = await inflate(packed, { maxOutputLength: mostBytes });
  if (bytes.length < 4) throw new RangeError('a memory without a head');
  const headEnd = 4 + bytes.readUInt32LE(0);
  if (headEnd > bytes.length || headEnd > 4 + mostHeadBytes) throw new RangeError('its head');
  const head = headSchema.parse(JSON.parse(bytes.toString('utf8', 4, headEnd)));
  const { service, epoch, birth } = head;
  const slots = bytes.subarray(headEnd);
  if (slots.length !== (head.ring === undefined ? 0 : slotsBytes)) throw new RangeError('slots');
  const ring = head.ring === undefined ? undefined : ringOf(head.ring, slots, nowMs);
  return { service, epoch, birth, ring };
}

function ringOf(head: NonNullable<Head['ring']>, bytes: Buffer, nowMs: number): Ring {
  // A copy of its own begins where words may.
  const own = Uint8Array.from(bytes).buffer;
  const slots = new Uint16Array(own, 0, slotCount);
  const previous = new Uint16Array(own, slotCount * 2, slotCount);
  const flags = new Uint8Array(own, slotCount * 4, slotCount);
  const eras = new Uint8Array(own, slotCount * 5, slotCount);
  const count = head.places.length;
  for (let slot = 0; slot < slotCount; slot += 1) {
    const [place = 0, before = 0] = [slots[slot], previous[slot]];
    const isSound =
      (place < count || place === noMember) &&
      (before < count || before === nobody) &&
      (flags[slot] ?? 0) <= allFlags &&
      (eras[slot] ?? 0) < mostEras;
    if (!isSound) throw new RangeError(`slot ${slot}`);
  }
  return {
    pool: { members: [], drainMs: 0 },
    places: head.places.map(({ personality, mac, keepsForMs }) => ({
      personality,
      mac,
      here: false,
      keepsUntilMs: keepsForMs === null ? never : nowMs + keepsForMs,
    })),
    slots,
    previous,
    flags,
    eras,
    windowUntilMs: nowMs + head.windowForMs,
    recordedUntilMs: nowMs + head.recordedForMs,
    lookMs: never,
  };
}

function bytesOf({ buffer, byteOffset, byteLength }: Uint8Array | Uint16Array): Buffer {
  return Buffer.from(buffer, byteOffset, byteLength);
}
