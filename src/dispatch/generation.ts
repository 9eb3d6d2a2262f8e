import ipaddr from 'ipaddr.js';
import type { HashMode } from '../config/types.js';
import { refused } from './refusals.js';
import { buildTable, keyOf, mostMembers } from './table.js';
import type { DispatchSpec } from './types.js';

/** Where things stand in `struct generation` of native/dispatch.h. */
const at = {
  key: 0,
  mac: 16,
  hashMode: 22,
  hasIpv4: 23,
  hasIpv6: 24,
  ipv4: 28,
  ipv6: 32,
  tcpPorts: 48,
  udpPorts: 48 + 8192,
  hasTcp: 48 + 2 * 8192,
  hasUdp: 49 + 2 * 8192,
  members: 56 + 2 * 8192,
  slots: 56 + 2 * 8192 + mostMembers * 8,
} as const;

export const generationBytes = at.slots + (65_537 + 3) * 2;

const hashModes: Readonly<Record<HashMode, number>> = {
  'source-ip': 0,
  'source-ip-port': 1,
  '5-tuple': 2,
};

/**
 * One state of a service as the packet program reads it.
 *
 * @param counterOf the slot of a member's counters
 * @throws {UnderstudyError} US_DISPATCH_SPEC
 */
export function packGeneration(
  spec: DispatchSpec,
  counterOf: (personality: string) => number,
): Buffer {
  const { members, slots } = buildTable(spec);
  const bytes = Buffer.alloc(generationBytes);
  keyOf(spec).copy(bytes, at.key);
  macBytes(spec, spec.mac).copy(bytes, at.mac);
  bytes.writeUInt8(hashModes[spec.hash], at.hashMode);
  packAddresses(spec, bytes);
  packPorts(spec, bytes);
  for (const [index, { personality, mac }] of members.entries()) {
    const offset = at.members + index * 8;
    // Without a MAC it has no slot.
    if (mac !== '') macBytes(spec, mac).copy(bytes, offset);
    bytes.writeUInt16LE(counterOf(personality), offset + 6);
  }
  // Both in host order, which is little-endian wherever this runs.
  bytes.set(new Uint8Array(slots.buffer), at.slots);
  return bytes;
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
    bytes.set(address.toByteArray(), v4 ? at.ipv4 : at.ipv6);
  }
}

function packPorts(spec: DispatchSpec, bytes: Buffer): void {
  for (const { protocol, first, last } of spec.ports) {
    const ports = protocol === 'tcp' ? at.tcpPorts : at.udpPorts;
    bytes[protocol === 'tcp' ? at.hasTcp : at.hasUdp] = 1;
    for (let port = first; port <= last; port += 1) {
      const offset = ports + (port >> 3);
      bytes[offset] = (bytes[offset] ?? 0) | (1 << (port & 7));
    }
  }
}

const fixIt = 'correct the cluster file and apply it';

function macBytes({ service }: DispatchSpec, text: string): Buffer {
  if (/^[0-9a-f]{2}(:[0-9a-f]{2}){5}$/i.test(text)) {
    return Buffer.from(text.replaceAll(':', ''), 'hex');
  }
  throw refused(service, `'${text}' is no MAC address`, 'run understudy apply again');
}
