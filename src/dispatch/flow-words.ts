/**
 * Recorded flows as the packet program keeps them (native/flows.h), each in two words of 32 bits, the
 * lower one first: tag (4 bits), member's ID (12), present, confirmed, time (14); rest of the tag. Numbers,
 * not bigints: there may be 262,144 of them.
 */
const buckets = 65_536;
const ways = 4;
/** Positions of all entries: bucket × 4 + way. */
export const mostFlows = buckets * ways;

const idShift = 16;
const idBits = 0xfff;
const present = 0x8000;
const confirmed = 0x4000;
const timeBits = 0x3fff;
const tagShift = 28;
const freeWorth = 0x10000;
/** No way of a bucket is worth less. */
const nothingYet = -1;

/** The packet program's time. */
export function flowTime(bootNs: bigint): number {
  return Number((bootNs >> 30n) & BigInt(timeBits));
}

/** In one value of the kernel's map (`struct flow_group`). */
export const flowGroups = 64;
export const flowGroupBytes = (mostFlows / flowGroups) * 8;
/** In words. */
export const flowGroupWords = flowGroupBytes / 4;

export const flowBytes = 12;

/** What was recorded of one host's flows, by position. */
export type FlowWords = Uint32Array;

export function noFlows(): FlowWords {
  return new Uint32Array(mostFlows * 2);
}

/** Of connections that are more than a first packet; a flood of those would be sent on for nothing. */
function isKept(low: number): boolean {
  return (low & (present | confirmed)) === (present | confirmed);
}

export interface Changed {
  /** `flowBytes` each: position, and the two words with the age instead of the time. */
  readonly bytes: Buffer;
  /** Where to begin the next time. */
  readonly next: number;
  /** Nothing is left for the next time. */
  readonly all: boolean;
}

/**
 * What `sent` lacks of `now`, from position `from` on and around, `most` at most. `sent` is brought in step.
 *
 * @param refresh how much older a flow's time may be there before it is told anew
 */
export function changedFlows(
  now: FlowWords,
  sent: FlowWords,
  { from, most, refresh, time }: { from: number; most: number; refresh: number; time: number },
): Changed {
  const bytes = Buffer.alloc(most * flowBytes);
  let count = 0;
  let at = from;
  for (let looked = 0; looked < mostFlows; looked += 1) {
    const position = at;
    at = at + 1 === mostFlows ? 0 : at + 1;
    const low = now[position * 2] ?? 0;
    if (!isKept(low)) continue;
    const high = now[position * 2 + 1] ?? 0;
    const sentLow = sent[position * 2] ?? 0;
    const same = high === sent[position * 2 + 1] && ((low ^ sentLow) & ~timeBits) === 0;
    if (same && ((low - sentLow) & timeBits) < refresh) continue;
    if (count === most) return { bytes, next: position, all: false };
    sent[position * 2] = low;
    sent[position * 2 + 1] = high;
    const offset = count * flowBytes;
    bytes.writeUInt32LE(position, offset);
    bytes.writeUInt32LE(withTime(low, time - low), offset + 4);
    bytes.writeUInt32LE(high, offset + 8);
    count += 1;
  }
  return { bytes: bytes.subarray(0, count * flowBytes), next: at, all: true };
}

/**
 * Puts what `changedFlows` made of another host's flows where it belongs, in this host's time.
 *
 * @throws {RangeError} when these bytes are none of its
 */
export function takeFlows(words: FlowWords, bytes: Buffer, time: number): void {
  if (bytes.length % flowBytes !== 0) throw new RangeError(`${bytes.length} bytes of flows`);
  for (let offset = 0; offset < bytes.length; offset += flowBytes) {
    const position = bytes.readUInt32LE(offset);
    const low = bytes.readUInt32LE(offset + 4);
    if (position >= mostFlows || !isKept(low)) throw new RangeError(`a flow at ${position}`);
    words[position * 2] = withTime(low, time - low);
    words[position * 2 + 1] = bytes.readUInt32LE(offset + 8);
  }
}

/**
 * Adds another host's flows of some buckets to this host's own of the same ones. Of two records of one flow the
 * younger one stays; where there is no room, what is worth less than the newcomer goes, by the packet program's
 * own measure.
 *
 * @param idOf this host's ID of a member by the other one's; -1: it may keep no flow
 * @returns how many were added
 */
export function mergeFlows(
  own: FlowWords,
  theirs: FlowWords,
  idOf: Int16Array,
  time: number,
): number {
  let added = 0;
  for (let position = 0; position < theirs.length / 2; position += 1) {
    const low = theirs[position * 2] ?? 0;
    if (!isKept(low)) continue;
    const id = idOf[(low >>> idShift) & idBits] ?? -1;
    if (id < 0) continue;
    const renamed = (low & ~(idBits << idShift)) | (id << idShift);
    if (put(own, position >>> 2, renamed, theirs[position * 2 + 1] ?? 0, time)) added += 1;
  }
  return added;
}

function put(own: FlowWords, bucket: number, low: number, high: number, time: number): boolean {
  let best = nothingYet;
  let place = bucket * ways;
  for (let position = bucket * ways; position < (bucket + 1) * ways; position += 1) {
    const there = own[position * 2] ?? 0;
    const isSame = own[position * 2 + 1] === high && there >>> tagShift === low >>> tagShift;
    if ((there & present) !== 0 && isSame) {
      if (ageOf(there, time) <= ageOf(low, time)) return false;
      own[position * 2] = low;
      return true;
    }
    const worth = worthless(there, time);
    if (worth > best) {
      best = worth;
      place = position;
    }
  }
  if (best <= worthless(low, time)) return false;
  own[place * 2] = low;
  own[place * 2 + 1] = high;
  return true;
}

/** As the packet program has it: by age; an unconfirmed one before any confirmed one, a free one before all. */
function worthless(low: number, time: number): number {
  if ((low & present) === 0) return freeWorth;
  return (low & confirmed) !== 0 ? ageOf(low, time) : 0x8000 | ageOf(low, time);
}

function ageOf(low: number, time: number): number {
  return (time - low) & timeBits;
}

function withTime(low: number, time: number): number {
  return ((low & ~timeBits) | (time & timeBits)) >>> 0;
}
