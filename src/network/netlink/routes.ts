import type { Cidr } from '../addresses.js';
import { Attributes, attribute, MalformedMessage, u32 } from './attributes.js';
import { dump } from './dump.js';
import { KernelError } from './error.js';
import { familyNumber } from './ip-addresses.js';
import { NLM_F_CREATE, NLM_F_REPLACE } from './message.js';
import type { NetlinkTransport, RequestOptions } from './transport.js';

/** Routes of the main table (rtnetlink(7), RTM_*ROUTE). */
const RTM_NEWROUTE = 24;
const RTM_DELROUTE = 25;
const RTM_GETROUTE = 26;
const HEADER_BYTES = 12;

const RTA_DST = 1;
const RTA_OIF = 4;
const RTA_GATEWAY = 5;
const RT_TABLE_MAIN = 254;
const RTN_UNICAST = 1;

export interface Route {
  readonly to: Cidr;
  readonly via: Buffer;
  /** Device to leave by; 0: the kernel finds it by the gateway. */
  readonly linkIndex: number;
  /** Who set it (rtm_protocol): the tag of ours. */
  readonly protocol: number;
}

/** Equals: `ip -4 route show proto PROTOCOL; ip -6 route show proto PROTOCOL` */
export async function listRoutes(
  netlink: NetlinkTransport,
  protocol: number,
  options: RequestOptions,
): Promise<readonly Route[]> {
  const routes: Route[] = [];
  for (const family of ['ipv4', 'ipv6'] as const) {
    const header = Buffer.alloc(HEADER_BYTES);
    header.writeUInt8(familyNumber[family], 0);
    header.writeUInt8(protocol, 5);
    const bodies = await dump(netlink, RTM_GETROUTE, header, options);
    for (const body of bodies) {
      const route = decodeRoute(body);
      if (route?.protocol === protocol) routes.push(route);
    }
  }
  return routes;
}

/** Equals: `ip route replace TO via VIA [dev NAME] proto PROTOCOL` */
export async function setRoute(
  netlink: NetlinkTransport,
  route: Route,
  options: RequestOptions,
): Promise<void> {
  const flags = NLM_F_CREATE | NLM_F_REPLACE;
  await netlink.request({ type: RTM_NEWROUTE, flags, body: encode(route) }, options);
}

/** One that is gone already counts as removed. Equals: `ip route del TO via VIA proto PROTOCOL` */
export async function removeRoute(
  netlink: NetlinkTransport,
  route: Route,
  options: RequestOptions,
): Promise<void> {
  try {
    await netlink.request({ type: RTM_DELROUTE, flags: 0, body: encode(route) }, options);
  } catch (thrown) {
    if (!(thrown instanceof KernelError && thrown.errnoName === 'ESRCH')) throw thrown;
  }
}

/** struct rtmsg and its attributes. */
function encode(route: Route): Buffer {
  const header = Buffer.alloc(HEADER_BYTES);
  header.writeUInt8(familyNumber[route.to.family], 0);
  header.writeUInt8(route.to.prefixLength, 1);
  header.writeUInt8(RT_TABLE_MAIN, 4);
  header.writeUInt8(route.protocol, 5);
  header.writeUInt8(RTN_UNICAST, 7);
  return Buffer.concat([
    header,
    attribute(RTA_DST, route.to.bytes),
    attribute(RTA_GATEWAY, route.via),
    ...(route.linkIndex === 0 ? [] : [u32(RTA_OIF, route.linkIndex)]),
  ]);
}

/** Undefined for routes without a gateway. @throws {MalformedMessage} */
export function decodeRoute(body: Buffer): Route | undefined {
  if (body.length < HEADER_BYTES) throw new MalformedMessage('short route');
  const family = body.readUInt8(0) === familyNumber.ipv4 ? 'ipv4' : 'ipv6';
  const attributes = new Attributes(body.subarray(HEADER_BYTES));
  const via = attributes.bytes(RTA_GATEWAY);
  if (via === undefined) return undefined;
  const bytes = attributes.bytes(RTA_DST) ?? Buffer.alloc(family === 'ipv4' ? 4 : 16);
  return {
    to: { family, bytes, prefixLength: body.readUInt8(1) },
    via,
    linkIndex: attributes.u32(RTA_OIF) ?? 0,
    protocol: body.readUInt8(5),
  };
}
