import type { Cidr } from '../addresses.js';
import { Attributes, attribute, MalformedMessage, u8, u32 } from './attributes.js';
import { dump } from './dump.js';
import { KernelError } from './error.js';
import { NLM_F_CREATE, NLM_F_EXCL } from './message.js';
import type { NetlinkTransport, RequestOptions } from './transport.js';

/** Addresses of devices (rtnetlink(7), RTM_*ADDR). */
const RTM_NEWADDR = 20;
const RTM_DELADDR = 21;
const RTM_GETADDR = 22;
const HEADER_BYTES = 8;

const IFA_ADDRESS = 1;
const IFA_LOCAL = 2;
const IFA_CACHEINFO = 6;
const IFA_FLAGS = 8;
/** Who set it; kept by the kernel since Linux 5.18, ignored before. */
const IFA_PROTO = 11;
const IFA_F_NODAD = 0x02;
const FOREVER = 0xffff_ffff;
export const RT_SCOPE_LINK = 253;
export const RT_SCOPE_HOST = 254;

const AF_INET = 2;
const AF_INET6 = 10;
export const familyNumber = { ipv4: AF_INET, ipv6: AF_INET6 } as const;

export interface AddressState extends Cidr {
  readonly linkIndex: number;
  /** undefined: not known to this kernel, or set by somebody who did not say. */
  readonly protocol: number | undefined;
}

export interface NewAddress extends Cidr {
  readonly linkIndex: number;
  readonly protocol: number;
  readonly scope?: number;
  /** IPv6: usable, but never chosen as source by itself (preferred lifetime 0, RFC 4862). */
  readonly deprecated?: boolean;
}

/** Equals: `ip address show` */
export async function listAddresses(
  netlink: NetlinkTransport,
  options: RequestOptions,
): Promise<readonly AddressState[]> {
  const bodies = await dump(netlink, RTM_GETADDR, Buffer.alloc(HEADER_BYTES), options);
  return bodies.flatMap((body) => decodeAddress(body) ?? []);
}

/**
 * Adds an address without asking the network whether it is free (who may use it was decided
 * elsewhere); one that is there already counts as added.
 *
 * Equals: `ip address add CIDR dev NAME nodad [scope SCOPE] [preferred_lft 0] proto PROTOCOL`
 */
export async function addAddress(
  netlink: NetlinkTransport,
  address: NewAddress,
  options: RequestOptions,
): Promise<void> {
  const flags = NLM_F_CREATE | NLM_F_EXCL;
  try {
    await netlink.request({ type: RTM_NEWADDR, flags, body: encode(address) }, options);
  } catch (thrown) {
    if (!(thrown instanceof KernelError && thrown.errnoName === 'EEXIST')) throw thrown;
  }
}

/** One that is gone already counts as removed. Equals: `ip address del CIDR dev NAME` */
export async function removeAddress(
  netlink: NetlinkTransport,
  address: Cidr & { readonly linkIndex: number },
  options: RequestOptions,
): Promise<void> {
  const body = Buffer.concat([header(address, 0), ...addressAttributes(address)]);
  try {
    await netlink.request({ type: RTM_DELADDR, flags: 0, body }, options);
  } catch (thrown) {
    if (!(thrown instanceof KernelError && thrown.errnoName === 'EADDRNOTAVAIL')) throw thrown;
  }
}

function encode(address: NewAddress): Buffer {
  const lifetimes = Buffer.alloc(16);
  lifetimes.writeUInt32LE(address.deprecated === true ? 0 : FOREVER, 0);
  lifetimes.writeUInt32LE(FOREVER, 4);
  return Buffer.concat([
    header(address, address.scope ?? 0),
    ...addressAttributes(address),
    u8(IFA_PROTO, address.protocol),
    ...(address.family === 'ipv6' ? [u32(IFA_FLAGS, IFA_F_NODAD)] : []),
    ...(address.deprecated === true ? [attribute(IFA_CACHEINFO, lifetimes)] : []),
  ]);
}

/** struct ifaddrmsg. */
function header(address: Cidr & { readonly linkIndex: number }, scope: number): Buffer {
  const bytes = Buffer.alloc(HEADER_BYTES);
  bytes.writeUInt8(familyNumber[address.family], 0);
  bytes.writeUInt8(address.prefixLength, 1);
  bytes.writeUInt8(scope, 3);
  bytes.writeUInt32LE(address.linkIndex, 4);
  return bytes;
}

function addressAttributes(address: Cidr): readonly Buffer[] {
  return [attribute(IFA_LOCAL, address.bytes), attribute(IFA_ADDRESS, address.bytes)];
}

/** Undefined for families other than v4 and v6. @throws {MalformedMessage} */
export function decodeAddress(body: Buffer): AddressState | undefined {
  if (body.length < HEADER_BYTES) throw new MalformedMessage('short address');
  const number = body.readUInt8(0);
  const family = number === AF_INET ? 'ipv4' : number === AF_INET6 ? 'ipv6' : undefined;
  const attributes = new Attributes(body.subarray(HEADER_BYTES));
  const bytes = attributes.bytes(IFA_LOCAL) ?? attributes.bytes(IFA_ADDRESS);
  if (family === undefined || bytes === undefined) return undefined;
  return {
    family,
    bytes,
    prefixLength: body.readUInt8(1),
    linkIndex: body.readUInt32LE(4),
    protocol: attributes.u8(IFA_PROTO),
  };
}
