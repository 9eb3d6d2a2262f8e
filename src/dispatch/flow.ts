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
/**
 * The slot of a flow; native/flow-key.h finds the same for each packet. The service's own address is in
 * no mode part of it: there is one in each family.
 *
 * @param key the service's seed as 16 bytes
 */
export function slotOf(key: Uint8Array, mode: HashMode, flow: ClientFlow): number {
  const address = ipaddr.parse(flow.address).toByteArray();
  const hashed = Buffer.alloc(address.length + 5);
  hashed.set(address);
  const ports = mode !== 'source-ip' && flow.fragment !== true;
  if (ports) hashed.writeUInt16BE(flow.port, address.length);
  if (ports && mode === '5-tuple') {
    hashed.writeUInt16BE(flow.servicePort, address.length + 2);
    hashed.writeUInt8(protocolNumbers[flow.protocol], address.length + 4);
  }
  const { high } = siphash(key, hashed);
  // Scaled, not divided with remainder: the packet program does it with a shift. Below 2^53.
  return Math.floor((high * slotCount) / 2 ** 32);
}
