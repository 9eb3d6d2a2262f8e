/**
 * SipHash-1-3 (Aumasson and Bernstein, 2012; the kernel's hsiphash uses the same number of rounds):
 * a hash that nobody can aim without its key.
 */
export interface Hash64 {
  /** Upper and lower 32 bits, unsigned. */
  readonly high: number;
  readonly low: number;
}

/** v0 to v3 as low and high halves: JavaScript's integers have 32 bits. */
const state = new Int32Array(8);

/**
 * @param key 16 bytes
 * @param compressionRounds 1 and 3 everywhere; others only to check against published vectors
 */
export function siphash(
  key: Uint8Array,
  message: Uint8Array,
  compressionRounds = 1,
  finalRounds = 3,
): Hash64 {
  start(key);
  const wholeWords = message.length >> 3;
  for (let word = 0; word < wholeWords; word += 1) {
    absorb(littleEndian(message, word * 8), littleEndian(message, word * 8 + 4), compressionRounds);
  }
  // What is left over, and the length in the last byte.
  const tail = new Uint8Array(8);
  tail.set(message.subarray(wholeWords * 8));
  tail[7] = message.length;
  absorb(littleEndian(tail, 0), littleEndian(tail, 4), compressionRounds);
  state[4] = half(4) ^ 0xff;
  for (let round = 0; round < finalRounds; round += 1) mix();
  return {
    high: (half(1) ^ half(3) ^ half(5) ^ half(7)) >>> 0,
    low: (half(0) ^ half(2) ^ half(4) ^ half(6)) >>> 0,
  };
}

function start(key: Uint8Array): void {
  const [k0l, k0h, k1l, k1h] = [0, 4, 8, 12].map((at) => littleEndian(key, at)) as [
    number,
    number,
    number,
    number,
  ];
  state[0] = k0l ^ 0x70736575;
  state[1] = k0h ^ 0x736f6d65;
  state[2] = k1l ^ 0x6e646f6d;
  state[3] = k1h ^ 0x646f7261;
  state[4] = k0l ^ 0x6e657261;
  state[5] = k0h ^ 0x6c796765;
  state[6] = k1l ^ 0x79746573;
  state[7] = k1h ^ 0x74656462;
}

function absorb(low: number, high: number, rounds: number): void {
  state[6] = half(6) ^ low;
  state[7] = half(7) ^ high;
  for (let round = 0; round < rounds; round += 1) mix();
  state[0] = half(0) ^ low;
  state[1] = half(1) ^ high;
}

/** One SipRound. Indices are those of the low halves. */
function mix(): void {
  add(0, 2);
  rotateAndXor(2, 13, 0);
  swapHalves(0);
  add(4, 6);
  rotateAndXor(6, 16, 4);
  add(0, 6);
  rotateAndXor(6, 21, 0);
  add(4, 2);
  rotateAndXor(2, 17, 4);
  swapHalves(4);
}

function add(to: number, from: number): void {
  const low = (half(to) >>> 0) + (half(from) >>> 0);
  state[to] = low;
  state[to + 1] = half(to + 1) + half(from + 1) + (low > 0xffff_ffff ? 1 : 0);
}

/** Rotates left by less than 32 bits, then xors with another word. */
function rotateAndXor(at: number, bits: number, other: number): void {
  const low = half(at);
  const high = half(at + 1);
  state[at] = ((low << bits) | (high >>> (32 - bits))) ^ half(other);
  state[at + 1] = ((high << bits) | (low >>> (32 - bits))) ^ half(other + 1);
}

function swapHalves(at: number): void {
  const low = half(at);
  state[at] = half(at + 1);
  state[at + 1] = low;
}

function half(index: number): number {
  return state[index] ?? 0;
}

function littleEndian(bytes: Uint8Array, at: number): number {
  return (
    (bytes[at] ?? 0) |
    ((bytes[at + 1] ?? 0) << 8) |
    ((bytes[at + 2] ?? 0) << 16) |
    ((bytes[at + 3] ?? 0) << 24)
  );
}
