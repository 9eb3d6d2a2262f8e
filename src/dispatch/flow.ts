import ipaddr from 'ipaddr.js';
import type { HashMode } from '../config/types.js';
import { siphash } from './siphash.js';
import { slotCount } from './table.js';

/** A packet's source, and what else its hash may be made of. */
export interface ClientFlow {
  /** The client's address as text: 10.10.0.200 or fd00::1. */
  readonly address: string;
  readonly port: number;
  readonly protocol: 'tcp' | 'udp';
  readonly servicePort: number;
  /** Part of a datagram: goes by its address alone. Default false. */
  readonly fragment?: boolean;
}

const protocolNumbers = { tcp: 6, udp: 17 } as const;

/** Number in native/dispatch.h, and which bits are hashed of the client's port and of what it asks for. */
export const hashModes: Readonly<
  Record<HashMode, { readonly number: number; readonly port: number; readonly endpoint: number }>
> = {
  'source-ip': { number: 0, port: 0, endpoint: 0 },
  'source-ip-port': { number: 1, port: 0xffff, endpoint: 0 },
  '5-tuple': { number: 2, port: 0xffff, endpoint: 0xff_ffff },
};

/** A port of a service as one number. */
export function endpointOf(protocol: 'tcp' | 'udp', port: number): number {
  return (protocolNumbers[protocol] << 16) | port;
}

/** Secret words and secret odd factors, in turn, made of a service's 128 secret bits. */
export function hashKey(seed: Uint8Array): readonly bigint[] {
  return [0, 1, 2, 3].map((index) => {
    const { high, low } = siphash(seed, Buffer.from(`hash word ${index}`));
    const word = (BigInt(high) << 32n) | BigInt(low);
    return index % 2 === 0 ? word : word | 1n;
  });
}

/**
 * The slot of a flow; native/flow-key.h finds the same for each packet. The service's own address is in
 * no mode part of it: there is one in each family.
 */
export function slotOf(key: readonly bigint[], mode: HashMode, flow: ClientFlow): number {
  const hash = hashOf(key, ...wordsOf(mode, flow));
  // Scaled, not divided with remainder: the packet program does it with a shift.
  return Number(((hash >> 32n) * BigInt(slotCount)) >> 32n);
}

/** All words but the last, and the last. */
function wordsOf(mode: HashMode, flow: ClientFlow): readonly [readonly bigint[], bigint] {
  const address = Buffer.from(ipaddr.parse(flow.address).toByteArray());
  const hashed = hashModes[mode];
  const hasPorts = flow.fragment !== true;
  // As it stands in the header, read by a little-endian machine.
  const read = ((flow.port & 0xff) << 8) | (flow.port >> 8);
  const port = BigInt(hasPorts ? read & hashed.port : 0);
  const asked = endpointOf(flow.protocol, flow.servicePort);
  const endpoint = BigInt(hasPorts ? asked & hashed.endpoint : 0);
  if (address.length === 4) return [[(BigInt(address.readUInt32LE()) << 16n) | port], endpoint];
  const words = [address.readBigUInt64LE(0), address.readBigUInt64LE(8), port];
  return [words, endpoint];
}

const wordMask = 0xffff_ffff_ffff_ffffn;

function hashOf(key: readonly bigint[], words: readonly bigint[], last: bigint): bigint {
  const [word = 0n, factor = 0n, lastWord = 0n, lastFactor = 0n] = key;
  const stirred = words.reduce((hash, each) => stir(hash ^ each, word, factor), 0n);
  return stir(stirred ^ last, lastWord, lastFactor);
}

function stir(hash: bigint, word: bigint, factor: bigint): bigint {
  const product = ((hash ^ word) * factor) & wordMask;
  return product ^ (product >> 32n);
}
