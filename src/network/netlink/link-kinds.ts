import { ipBytes, macBytes } from '../addresses.js';
import { attribute, nested, text, u8, u16, u16be, u32 } from './attributes.js';
import {
  IFLA_ADDRESS,
  IFLA_GROUP,
  IFLA_IFNAME,
  IFLA_INFO_DATA,
  IFLA_INFO_KIND,
  IFLA_LINK,
  IFLA_LINKINFO,
  IFLA_MACVLAN_MODE,
  IFLA_MTU,
  IFLA_NET_NS_FD,
  IFLA_VLAN_ID,
  IFLA_VXLAN_ID,
  IFLA_VXLAN_LEARNING,
  IFLA_VXLAN_LINK,
  IFLA_VXLAN_LOCAL,
  IFLA_VXLAN_LOCAL6,
  IFLA_VXLAN_PORT,
  linkHeader,
  MACVLAN_MODE_BRIDGE,
  RTM_NEWLINK,
} from './links.js';
import { NLM_F_CREATE, NLM_F_EXCL } from './message.js';
import type { NetlinkTransport, RequestOptions } from './transport.js';

const IFLA_VXLAN_UDP_CSUM = 18;
const IFLA_VXLAN_UDP_ZERO_CSUM6_TX = 19;
const IFLA_VXLAN_UDP_ZERO_CSUM6_RX = 20;

/** What every new device has. It is born down, directly in the namespace it is for. */
export interface NewLink {
  readonly name: string;
  /** Descriptor of the namespace it is made in; the device below stays where it is. */
  readonly namespaceFd: number;
  readonly mtu: number;
  /** Device group: the only mark that a device can be born with (rtnl_create_link, rtnetlink.c). */
  readonly group: number;
}

/**
 * Adds the device of one VLAN on a NIC of the socket's namespace.
 *
 * Equals: `ip link add link PARENT name NAME netns NS mtu MTU group GROUP type vlan id ID`
 *
 * @throws {KernelError} US_NET_EXISTS, US_NET_NO_PARENT, US_NET_UNSUPPORTED (no 8021q), US_NET_REFUSED
 */
export async function addVlan(
  netlink: NetlinkTransport,
  spec: NewLink & { readonly parentIndex: number; readonly vlanId: number },
  options: RequestOptions,
): Promise<void> {
  const parent = u32(IFLA_LINK, spec.parentIndex);
  await add(netlink, spec, [parent], 'vlan', [u16(IFLA_VLAN_ID, spec.vlanId)], options);
}

export interface NewVxlan extends NewLink {
  readonly vni: number;
  /** Source address of what it sends. */
  readonly local: string;
  readonly underlayIndex: number;
  readonly port: number;
}

/**
 * Adds a VXLAN device that learns nothing and floods to nobody, until it gets forwarding entries.
 * Outer checksums are on: the inner frame's own checksum may be left to the device below, and then
 * nothing else would protect it.
 *
 * Equals: `ip link add name NAME netns NS mtu MTU group GROUP type vxlan id VNI dev UNDERLAY local ADDRESS
 * dstport PORT nolearning udpcsum noudp6zerocsumtx noudp6zerocsumrx`
 *
 * @throws {KernelError} US_NET_EXISTS (the VNI is in use on this host), US_NET_NO_PARENT, US_NET_REFUSED
 */
export async function addVxlan(
  netlink: NetlinkTransport,
  spec: NewVxlan,
  options: RequestOptions,
): Promise<void> {
  const local = ipBytes(spec.local);
  await add(
    netlink,
    spec,
    [],
    'vxlan',
    [
      u32(IFLA_VXLAN_ID, spec.vni),
      attribute(local.length === 4 ? IFLA_VXLAN_LOCAL : IFLA_VXLAN_LOCAL6, local),
      u32(IFLA_VXLAN_LINK, spec.underlayIndex),
      u16be(IFLA_VXLAN_PORT, spec.port),
      u8(IFLA_VXLAN_LEARNING, 0),
      u8(IFLA_VXLAN_UDP_CSUM, 1),
      u8(IFLA_VXLAN_UDP_ZERO_CSUM6_TX, 0),
      u8(IFLA_VXLAN_UDP_ZERO_CSUM6_RX, 0),
    ],
    options,
  );
}

/**
 * Adds a virtual NIC with its own MAC on top of a device of the socket's namespace.
 *
 * Equals: `ip link add link PARENT name NAME netns NS address MAC mtu MTU group GROUP type macvlan mode bridge`
 *
 * @throws {KernelError} US_NET_EXISTS, US_NET_NO_PARENT, US_NET_REFUSED (with the kernel's own words)
 */
export async function addMacvlan(
  netlink: NetlinkTransport,
  spec: NewLink & { readonly parentIndex: number; readonly mac: string },
  options: RequestOptions,
): Promise<void> {
  const base = [u32(IFLA_LINK, spec.parentIndex), attribute(IFLA_ADDRESS, macBytes(spec.mac))];
  const mode = u32(IFLA_MACVLAN_MODE, MACVLAN_MODE_BRIDGE);
  await add(netlink, spec, base, 'macvlan', [mode], options);
}

async function add(
  netlink: NetlinkTransport,
  spec: NewLink,
  base: readonly Buffer[],
  kind: string,
  data: readonly Buffer[],
  options: RequestOptions,
): Promise<void> {
  const body = Buffer.concat([
    linkHeader({}),
    text(IFLA_IFNAME, spec.name),
    u32(IFLA_NET_NS_FD, spec.namespaceFd),
    u32(IFLA_MTU, spec.mtu),
    u32(IFLA_GROUP, spec.group),
    ...base,
    nested(IFLA_LINKINFO, text(IFLA_INFO_KIND, kind), nested(IFLA_INFO_DATA, ...data)),
  ]);
  const flags = NLM_F_CREATE | NLM_F_EXCL;
  await netlink.request({ type: RTM_NEWLINK, flags, body }, options);
}
