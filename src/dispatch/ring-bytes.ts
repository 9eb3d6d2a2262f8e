import { nobody, type Ring, type RingTimes } from './ring.js';
import { mostMembers, noMember, slotCount } from './table.js';

/** Of all rings of a host together; native/dispatch.h. */
export const mostIds = 4096;

/** Where things stand in `struct ring` of native/dispatch.h. */
const slotBytes = (slotCount + 7) * 2;
const at = {
  members: 0,
  slots: mostMembers * 8,
  previous: mostMembers * 8 + slotBytes,
  placeOf: mostMembers * 8 + 2 * slotBytes,
} as const;
export const ringBytes = at.placeOf + mostIds * 2;

/** By ID: it may keep no flow. */
const noPlace = 0xffff;
const trackedBit = 0x8000;
const placeBits = 0x7fff;
const hereBit = 0x8000;
/** A place or nobody; above it the era. */
const previousBits = 11;
const previousMask = 0x7ff;

/** @param idOf the host's ID of a member, by its MAC */
export function packRing(ring: Ring, idOf: (mac: string) => number, nowMs: number): Buffer {
  const bytes = Buffer.alloc(ringBytes);
  // All in host order, which is little-endian wherever this runs.
  const words = new Uint16Array(bytes.buffer, bytes.byteOffset, ringBytes / 2);
  packSlots(words, ring.slots, ring.flags);
  packPrevious(words, ring.previous, ring.eras);
  words.fill(noPlace, at.placeOf / 2);
  for (const [place, { mac, here, keepsUntilMs }] of ring.places.entries()) {
    if (mac === '') continue;
    const id = idOf(mac);
    const offset = at.members + place * 8;
    bytes.writeUInt16LE(id | (here ? hereBit : 0), offset);
    bytes.write(mac.replaceAll(':', ''), offset + 2, 'hex');
    if (keepsUntilMs > nowMs) words[at.placeOf / 2 + id] = place;
  }
  return bytes;
}

/** Of numbers alone, so that V8 keeps what it compiled whatever rings are like. */
function packSlots(words: Uint16Array, slots: Uint16Array, flags: Uint8Array): void {
  for (let slot = 0; slot < slotCount; slot += 1) {
    const place = slots[slot] ?? noMember;
    words[at.slots / 2 + slot] = (place & placeBits) | ((flags[slot] ?? 0) === 0 ? 0 : trackedBit);
  }
}

function packPrevious(words: Uint16Array, previous: Uint16Array, eras: Uint8Array): void {
  for (let slot = 0; slot < slotCount; slot += 1) {
    const place = (previous[slot] ?? nobody) & previousMask;
    words[at.previous / 2 + slot] = place | ((eras[slot] ?? 0) << previousBits);
  }
}

/** A ring as a process before this one left it: its slots from the kernel, the rest as noted. */
export function unpackRing(bytes: Buffer, noted: RingTimes & Pick<Ring, 'pool' | 'places'>): Ring {
  const words = new Uint16Array(slotCount);
  const flags = new Uint8Array(slotCount);
  for (let slot = 0; slot < slotCount; slot += 1) {
    const word = bytes.readUInt16LE(at.slots + slot * 2);
    words[slot] = (word & placeBits) === placeBits ? noMember : word & placeBits;
    // Which of the tracked ones are mixed is not told: all are taken to be.
    if ((word & trackedBit) !== 0) flags[slot] = 3;
  }
  const previous = new Uint16Array(slotCount);
  const eras = new Uint8Array(slotCount);
  for (let slot = 0; slot < slotCount; slot += 1) {
    const word = bytes.readUInt16LE(at.previous + slot * 2);
    previous[slot] = (word & previousMask) === previousMask ? nobody : word & previousMask;
    eras[slot] = word >> previousBits;
  }
  return { ...noted, slots: words, previous, flags, eras };
}
