import { siphash } from './siphash.js';

/** Up to this many members a table is exact; beyond, shares would differ too much, and Maglev's do not. */
export const mostExactMembers = 8;

export interface Candidate {
  readonly name: string;
  readonly weight: number;
  /** What its slots hold. */
  readonly index: number;
}

/**
 * Rendezvous hashing (Thaler and Ravishankar, 1998; weighted as by Schindelhauer and Schomaker, 2005):
 * each slot goes to the member that draws the highest number for it. Since no draw depends on other
 * members, one that comes or goes moves its own slots and no other.
 */
export function drawSlots(
  key: Uint8Array,
  candidates: readonly Candidate[],
  slots: Uint16Array,
): void {
  const draws = candidates.map(({ name, weight, index }) => {
    const { high, low } = siphash(key, Buffer.from(`draw ${name}`));
    return { high, low: low | 1, weight, index };
  });
  // The logarithm grows with what is drawn: with equal weights it decides nothing.
  const isEven = draws.every(({ weight }) => weight === draws[0]?.weight);
  for (let slot = 0; slot < slots.length; slot += 1) {
    let best = Number.NEGATIVE_INFINITY;
    for (const { high, low, weight, index } of draws) {
      const word = mix(Math.imul(slot, low) ^ high);
      const drawn = isEven ? word : logarithm(word) / weight;
      if (drawn <= best) continue;
      best = drawn;
      slots[slot] = index;
    }
  }
}

/** The finaliser of MurmurHash3: every bit of the input changes each bit of the output in half of all cases. */
function mix(word: number): number {
  let mixed = word ^ (word >>> 16);
  mixed = Math.imul(mixed, 0x85ebca6b);
  mixed = Math.imul(mixed ^ (mixed >>> 13), 0xc2b2ae35);
  return (mixed ^ (mixed >>> 16)) >>> 0;
}

/**
 * Natural logarithm of (word + 1) / 2^32. Of sums and quotients alone, which are the same to the last
 * bit everywhere: Math.log need not be, and every host has to get the same table.
 */
function logarithm(word: number): number {
  const number = word + 1;
  const exponent = 32 - Math.clz32(Math.min(number, 0xffff_ffff));
  const mantissa = number / 2 ** exponent;
  const ratio = (mantissa - 1) / (mantissa + 1);
  const square = ratio * ratio;
  let sum = 0;
  for (let odd = 21; odd >= 1; odd -= 2) sum = sum * square + 1 / odd;
  return 2 * ratio * sum + (exponent - 32) * Math.LN2;
}
