import ipaddr from 'ipaddr.js';
import { endpointOf, hashKey, hashModes } from './flow.js';
import { refused } from './refusals.js';
import { keyOf } from './table.js';
import type { DispatchSpec } from './types.js';

export const mostServices = 1024;
/** A service's counters stand in groups of this many places; native/dispatch.h. */
export const groupPlaces = 16;
const mostRanges = 32;

/** Where things stand in `struct service` of native/dispatch.h. */
const at = {
  key: 0,
  mac: 32,
  vlan: 38,
  hashedPort: 40,
  hashedEndpoint: 44,
  quickIpv4: 48,
  hasIpv4: 49,
  hasIpv6: 50,
  hasTcp: 51,
  ipv4: 52,
  ring: 56,
  keptProtocol: 60,
  ports: 64,
  groups: 320,
  ipv6: 448,
  hashMode: 464,
  sticky: 466,
  birth: 468,
  hasUdp: 470,
} as const;
export const serviceBytes = 512;

/** Version 4, header of 5 words. */
const plainIpv4 = 0x45;
/** Is no endpoint. */
const unusedWord = 0xffff_ffff;
/** The packet program's time: 2^30 ns, of which it keeps 14 bits. */
const timeUnitMs = 2 ** 30 / 1e6;
const longestSticky = 0x3ffe;

/**
 * A service as the packet program reads it, less what its place on this host is (see `placeService`).
 *
 * @throws {UnderstudyError} US_DISPATCH_SPEC
 */
export function packService(spec: DispatchSpec): Buffer {
  const bytes = Buffer.alloc(serviceBytes);
  packHash(spec, bytes);
  macBytes(spec.service, spec.mac).copy(bytes, at.mac);
  bytes.writeUInt16LE(spec.vlan ?? 0, at.vlan);
  const sticky = Math.ceil((spec.udpStickyMs ?? 0) / timeUnitMs);
  bytes.writeUInt16LE(Math.min(sticky, longestSticky), at.sticky);
  bytes.writeUInt32LE(sticky === 0 ? unusedWord : endpointOf('udp', 0), at.keptProtocol);
  packAddresses(spec, bytes);
  packPorts(spec, bytes);
  for (const { personality, mac } of spec.members) {
    if (mac !== '') macBytes(`${spec.service}, member ${personality}`, mac);
  }
  return bytes;
}

function packHash(spec: DispatchSpec, bytes: Buffer): void {
  const { number, port, endpoint } = hashModes[spec.hash];
  for (const [index, word] of hashKey(keyOf(spec)).entries()) {
    bytes.writeBigUInt64LE(word, at.key + index * 8);
  }
  bytes.writeUInt16LE(number, at.hashMode);
  bytes.writeUInt32LE(port, at.hashedPort);
  bytes.writeUInt32LE(endpoint, at.hashedEndpoint);
}

/** @param groups in which its counters stand, by groups of places */
export function placeService(
  service: Buffer,
  birth: number,
  ring: number,
  groups: readonly number[],
): Buffer {
  const bytes = Buffer.from(service);
  bytes.writeUInt16LE(birth, at.birth);
  bytes.writeUInt32LE(ring, at.ring);
  for (const [index, group] of groups.entries()) {
    bytes.writeUInt16LE(group, at.groups + index * 2);
  }
  return bytes;
}

export function macOfService(service: Buffer): string {
  return service.toString('hex', at.mac, at.mac + 6);
}

function packAddresses(spec: DispatchSpec, bytes: Buffer): void {
  for (const text of spec.addresses) {
    if (!ipaddr.isValid(text)) throw refused(spec.service, `${text} is no address`, fixIt);
    const address = ipaddr.parse(text);
    const v4 = address instanceof ipaddr.IPv4;
    const flag = v4 ? at.hasIpv4 : at.hasIpv6;
    if (bytes[flag] !== 0) {
      throw refused(spec.service, `it has two ${v4 ? 'IPv4' : 'IPv6'} addresses`, fixIt);
    }
    bytes[flag] = 1;
    if (v4) bytes[at.quickIpv4] = plainIpv4;
    bytes.set(address.toByteArray(), v4 ? at.ipv4 : at.ipv6);
  }
}

function packPorts(spec: DispatchSpec, bytes: Buffer): void {
  const ranges = (['tcp', 'udp'] as const).flatMap((protocol) => {
    const merged: { first: number; last: number }[] = [];
    const own = spec.ports.filter((range) => range.protocol === protocol);
    for (const { first, last } of own.sort((one, other) => one.first - other.first)) {
      const before = merged.at(-1);
      if (before !== undefined && first <= before.last + 1) {
        before.last = Math.max(before.last, last);
      } else merged.push({ first, last });
    }
    if (merged.length > 0) bytes[protocol === 'tcp' ? at.hasTcp : at.hasUdp] = 1;
    return merged.map((range) => ({ ...range, protocol }));
  });
  if (ranges.length > mostRanges) {
    const cause = `${ranges.length} separate ranges of ports; ${mostRanges} is the most`;
    throw refused(spec.service, cause, 'split the service in the cluster file');
  }
  for (let index = 0; index < mostRanges; index += 1) {
    const { protocol, first, last } = ranges[index] ?? { protocol: undefined, first: 0, last: 0 };
    const offset = at.ports + index * 8;
    bytes.writeUInt32LE(protocol === undefined ? unusedWord : endpointOf(protocol, first), offset);
    bytes.writeUInt32LE(last - first, offset + 4);
  }
}

const fixIt = 'correct the cluster file and apply it';

function macBytes(service: string, text: string): Buffer {
  if (/^[0-9a-f]{2}(:[0-9a-f]{2}){5}$/i.test(text)) {
    return Buffer.from(text.replaceAll(':', ''), 'hex');
  }
  throw refused(service, `'${text}' is no MAC address`, 'run understudy apply again');
}

/** Where things stand in `struct state`. */
const bucketCount = 2048;
const ways = 4;
const buckets = 16;
export const servicesAt = buckets + bucketCount * ways * 8;
export const stateBytes = servicesAt + mostServices * serviceBytes;

const wordMask = 0xffff_ffff_ffff_ffffn;
/** An odd number with bits all over: 2^64 divided by the golden ratio. */
const firstMultiplier = 0x9e37_79b9_7f4a_7c15n;
const mostTries = 64;
/** Instead of a service's number. */
const elsewhere = 0xffff;

/**
 * All services of a host in one value.
 *
 * @param placed as `placeService` makes them, by number
 * @param others MACs of dispatchers elsewhere
 * @throws {UnderstudyError} US_DISPATCH_SPEC
 */
export function packState(placed: ReadonlyMap<number, Buffer>, others: readonly string[]): Buffer {
  const bytes = Buffer.alloc(stateBytes);
  const macs = new Map<string, number>();
  for (const mac of others) macs.set(mac.replaceAll(':', '').toLowerCase(), elsewhere);
  for (const [number, service] of placed) {
    macs.set(macOfService(service), number);
    service.copy(bytes, servicesAt + number * serviceBytes);
  }
  let multiplier = firstMultiplier;
  for (let attempt = 0; attempt < mostTries; attempt += 1) {
    if (packBuckets(bytes, macs, multiplier)) return bytes;
    multiplier = (multiplier * firstMultiplier) & wordMask;
  }
  throw refused('of this host', `${macs.size} services do not fit`, 'use fewer services');
}

/** @returns false when a bucket has not enough ways: another multiplier may do */
function packBuckets(
  bytes: Buffer,
  macs: ReadonlyMap<string, number>,
  multiplier: bigint,
): boolean {
  bytes.fill(0xff, 0, servicesAt);
  bytes.writeBigUInt64LE(multiplier, 0);
  const used = new Map<number, number>();
  let known = 0n;
  for (const [hex, number] of macs) {
    const padded = Buffer.alloc(8);
    padded.write(hex, 'hex');
    const mac = padded.readBigUInt64LE(0) << 16n;
    const bucket = Number(((mac * multiplier) & wordMask) >> 53n);
    const way = used.get(bucket) ?? 0;
    if (way === ways) return false;
    used.set(bucket, way + 1);
    known |= 1n << ((mac >> 56n) & 63n);
    bytes.writeBigUInt64LE(mac | BigInt(number), buckets + (bucket * ways + way) * 8);
  }
  bytes.writeBigUInt64LE(known, 8);
  return true;
}
