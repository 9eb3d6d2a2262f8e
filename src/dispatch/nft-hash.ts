import ipaddr from 'ipaddr.js';
import type { HashMode } from '../config/types.js';
import type { ClientFlow } from './flow.js';
import { siphash } from './siphash.js';

/** `JHASH_INITVAL` of include/linux/jhash.h. */
const initial = 0xdeadbeef;
const protocolNumbers = { tcp: 6, udp: 17 } as const;

const rotate = (word: number, bits: number) => (word << bits) | (word >>> (32 - bits));

/**
 * Jenkins’ hash as the kernel’s `jhash()` has it, of whole 32-bit words: all that nftables hashes is padded
 * to them.
 */
export function jhash(bytes: Buffer, seed: number): number {
  let [a, b, c] = [0, 0, 0].map(() => (initial + bytes.length + seed) | 0) as [
    number,
    number,
    number,
  ];
  const word = (at: number) => (at < bytes.length ? bytes.readInt32LE(at) : 0);
  let at = 0;
  for (; bytes.length - at > 12; at += 12) {
    a = (a + word(at)) | 0;
    b = (b + word(at + 4)) | 0;
    c = (c + word(at + 8)) | 0;
    // __jhash_mix
    a = ((a - c) | 0) ^ rotate(c, 4);
    c = (c + b) | 0;
    b = ((b - a) | 0) ^ rotate(a, 6);
    a = (a + c) | 0;
    c = ((c - b) | 0) ^ rotate(b, 8);
    b = (b + a) | 0;
    a = ((a - c) | 0) ^ rotate(c, 16);
    c = (c + b) | 0;
    b = ((b - a) | 0) ^ rotate(a, 19);
    a = (a + c) | 0;
    c = ((c - b) | 0) ^ rotate(b, 4);
    b = (b + a) | 0;
  }
  a = (a + word(at)) | 0;
  b = (b + word(at + 4)) | 0;
  c = (c + word(at + 8)) | 0;
  // __jhash_final
  c = ((c ^ b) - rotate(b, 14)) | 0;
  a = ((a ^ c) - rotate(c, 11)) | 0;
  b = ((b ^ a) - rotate(a, 25)) | 0;
  c = ((c ^ b) - rotate(b, 16)) | 0;
  a = ((a ^ c) - rotate(c, 4)) | 0;
  b = ((b ^ a) - rotate(a, 14)) | 0;
  c = ((c ^ b) - rotate(b, 24)) | 0;
  return c >>> 0;
}

/**
 * What nftables hashes with for a service, of its secret seed; in mode 5-tuple another for each protocol, which
 * is then part of the hash.
 */
export function nftSeed(seed: Uint8Array, mode: HashMode, protocol: 'tcp' | 'udp' | ''): number {
  const { low } = siphash(seed, Buffer.from('nftables'));
  const more = mode === '5-tuple' && protocol !== '' ? protocolNumbers[protocol] : 0;
  return (low + more) >>> 0;
}

/** The slot of a flow where nftables dispatches (nft-rules.ts). */
export function nftSlotOf(
  seed: Uint8Array,
  mode: HashMode,
  flow: ClientFlow,
  slotCount: number,
): number {
  const words: Buffer[] = [Buffer.from(ipaddr.parse(flow.address).toByteArray())];
  const whole = flow.fragment !== true;
  if (whole && mode !== 'source-ip') words.push(portWord(flow.port));
  if (whole && mode === '5-tuple') words.push(portWord(flow.servicePort));
  const protocol = whole ? flow.protocol : '';
  const hash = jhash(Buffer.concat(words), nftSeed(seed, mode, protocol));
  // reciprocal_scale() of the kernel.
  return Number((BigInt(hash) * BigInt(slotCount)) >> 32n);
}

/** As it stands in the header, in a register of 32 bits. */
function portWord(port: number): Buffer {
  const word = Buffer.alloc(4);
  word.writeUInt16BE(port);
  return word;
}
