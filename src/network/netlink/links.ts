import { ipText, macBytes, macText } from '../addresses.js';
import { Attributes, attribute, MalformedMessage, text, u32 } from './attributes.js';
import { dump } from './dump.js';
import { KernelError } from './error.js';
import type { NetlinkTransport, RequestOptions } from './transport.js';

/** Network devices (rtnetlink(7), RTM_*LINK). Those that make one are in link-kinds.ts. */
export const RTM_NEWLINK = 16;
const RTM_DELLINK = 17;
const RTM_GETLINK = 18;

const IFINFO_BYTES = 16;
const IFF_UP = 1;

export const IFLA_ADDRESS = 1;
export const IFLA_IFNAME = 3;
export const IFLA_MTU = 4;
export const IFLA_LINK = 5;
export const IFLA_LINKINFO = 18;
const IFLA_IFALIAS = 20;
export const IFLA_GROUP = 27;
export const IFLA_NET_NS_FD = 28;
export const IFLA_INFO_KIND = 1;
export const IFLA_INFO_DATA = 2;
export const IFLA_VLAN_ID = 1;
export const IFLA_MACVLAN_MODE = 1;
export const MACVLAN_MODE_BRIDGE = 4;
export const IFLA_VXLAN_ID = 1;
export const IFLA_VXLAN_LINK = 3;
export const IFLA_VXLAN_LOCAL = 4;
export const IFLA_VXLAN_LEARNING = 7;
export const IFLA_VXLAN_PORT = 15;
export const IFLA_VXLAN_LOCAL6 = 17;

export interface Link {
  readonly index: number;
  readonly name: string;
  readonly up: boolean;
  /** '' for a device without. */
  readonly mac: string;
  readonly mtu: number;
  readonly group: number;
  /** '' for none. */
  readonly alias: string;
  /** Index of the device below, in the namespace where that one is; 0 for none. */
  readonly parentIndex: number;
  /** 'vlan', 'vxlan', 'macvlan', …; '' for a plain NIC. */
  readonly kind: string;
  readonly vlanId: number | undefined;
  readonly macvlanMode: number | undefined;
  readonly vxlan: VxlanState | undefined;
}

export interface VxlanState {
  readonly vni: number;
  readonly local: string;
  readonly port: number;
  readonly learning: boolean;
  readonly underlayIndex: number;
}

/** Equals: `ip -details link show` */
export async function listLinks(
  netlink: NetlinkTransport,
  options: RequestOptions,
): Promise<readonly Link[]> {
  const bodies = await dump(netlink, RTM_GETLINK, linkHeader({}), options);
  return bodies.map(decodeLink);
}

/** Undefined where there is none of that name. Equals: `ip -details link show dev NAME` */
export async function findLink(
  netlink: NetlinkTransport,
  name: string,
  options: RequestOptions,
): Promise<Link | undefined> {
  const body = Buffer.concat([linkHeader({}), text(IFLA_IFNAME, name)]);
  try {
    const [found] = await netlink.request({ type: RTM_GETLINK, flags: 0, body }, options);
    return found === undefined ? undefined : decodeLink(found);
  } catch (thrown) {
    if (thrown instanceof KernelError && thrown.errnoName === 'ENODEV') return undefined;
    throw thrown;
  }
}

export interface LinkChange {
  readonly up?: boolean;
  readonly mac?: string;
  readonly mtu?: number;
  readonly alias?: string;
  readonly name?: string;
  /** Descriptor of the network namespace to move it to. */
  readonly namespaceFd?: number;
}

/**
 * Changes one device.
 *
 * Equals: `ip link set dev NAME [up|down] [address MAC] [mtu N] [alias TEXT] [name NEW] [netns …]`
 */
export async function changeLink(
  netlink: NetlinkTransport,
  index: number,
  change: LinkChange,
  options: RequestOptions,
): Promise<void> {
  await netlink.request(changeRequest(index, change), options);
}

/** The request of changeLink, for one that must be made in a synchronous step. */
export function changeRequest(
  index: number,
  change: LinkChange,
): { readonly type: number; readonly flags: number; readonly body: Buffer } {
  const { up, mac, mtu, alias, name, namespaceFd } = change;
  const attributes = [
    ...(mac === undefined ? [] : [attribute(IFLA_ADDRESS, macBytes(mac))]),
    ...(mtu === undefined ? [] : [u32(IFLA_MTU, mtu)]),
    ...(alias === undefined ? [] : [text(IFLA_IFALIAS, alias)]),
    ...(name === undefined ? [] : [text(IFLA_IFNAME, name)]),
    ...(namespaceFd === undefined ? [] : [u32(IFLA_NET_NS_FD, namespaceFd)]),
  ];
  const header = linkHeader(up === undefined ? { index } : { index, up });
  return { type: RTM_NEWLINK, flags: 0, body: Buffer.concat([header, ...attributes]) };
}

/**
 * Removes a device; one that is not there any more counts as removed. Takes milliseconds in the
 * kernel (it waits for RCU), so it is sent off this thread.
 *
 * Equals: `ip link delete dev NAME`
 */
export async function removeLink(
  netlink: NetlinkTransport,
  index: number,
  options: RequestOptions,
): Promise<void> {
  const request = { type: RTM_DELLINK, flags: 0, body: linkHeader({ index }) };
  try {
    await netlink.request(request, { ...options, slow: true });
  } catch (thrown) {
    if (!(thrown instanceof KernelError && thrown.errnoName === 'ENODEV')) throw thrown;
  }
}

/** struct ifinfomsg. */
export function linkHeader({ index = 0, up }: { index?: number; up?: boolean }): Buffer {
  const bytes = Buffer.alloc(IFINFO_BYTES);
  bytes.writeInt32LE(index, 4);
  bytes.writeUInt32LE(up === true ? IFF_UP : 0, 8);
  bytes.writeUInt32LE(up === undefined ? 0 : IFF_UP, 12);
  return bytes;
}

/** @throws {MalformedMessage} */
export function decodeLink(body: Buffer): Link {
  if (body.length < IFINFO_BYTES) throw new MalformedMessage('short link');
  const attributes = new Attributes(body.subarray(IFINFO_BYTES));
  const info = attributes.nested(IFLA_LINKINFO);
  const kind = info?.text(IFLA_INFO_KIND) ?? '';
  const data = info?.nested(IFLA_INFO_DATA);
  return {
    index: body.readInt32LE(4),
    name: attributes.text(IFLA_IFNAME) ?? '',
    up: (body.readUInt32LE(8) & IFF_UP) !== 0,
    mac: macText(attributes.bytes(IFLA_ADDRESS) ?? Buffer.alloc(0)),
    mtu: attributes.u32(IFLA_MTU) ?? 0,
    group: attributes.u32(IFLA_GROUP) ?? 0,
    alias: attributes.text(IFLA_IFALIAS) ?? '',
    parentIndex: attributes.u32(IFLA_LINK) ?? 0,
    kind,
    vlanId: kind === 'vlan' ? data?.u16(IFLA_VLAN_ID) : undefined,
    macvlanMode: kind === 'macvlan' ? data?.u32(IFLA_MACVLAN_MODE) : undefined,
    vxlan: kind === 'vxlan' && data !== undefined ? decodeVxlan(data) : undefined,
  };
}

function decodeVxlan(data: Attributes): VxlanState {
  const local = data.bytes(IFLA_VXLAN_LOCAL) ?? data.bytes(IFLA_VXLAN_LOCAL6);
  return {
    vni: data.u32(IFLA_VXLAN_ID) ?? 0,
    local: local === undefined ? '' : ipText(local),
    port: data.u16be(IFLA_VXLAN_PORT) ?? 0,
    learning: data.u8(IFLA_VXLAN_LEARNING) !== 0,
    underlayIndex: data.u32(IFLA_VXLAN_LINK) ?? 0,
  };
}
