import { ourProtocol } from './address-plan.js';
import {
  type Cidr,
  cidrText,
  inSubnet,
  ipBytes,
  ipText,
  isLinkLocal,
  parseCidr,
} from './addresses.js';
import { listRoutes, type Route, removeRoute, setRoute } from './netlink/routes.js';
import type { NetlinkTransport, RequestOptions } from './netlink/transport.js';

/** A NIC that routes may leave by. */
export interface RouteNic {
  readonly linkIndex: number;
  readonly addresses: readonly Cidr[];
}

/** The routes of `specs`; each leaves by the NIC whose subnet its gateway is in. */
export function planRoutes(
  specs: readonly { readonly to: string; readonly via: string }[],
  nics: readonly RouteNic[],
): readonly Route[] {
  return specs.map(({ to, via }) => {
    const gateway = ipBytes(via);
    const nic = isLinkLocal(gateway)
      ? nics.find(({ addresses }) => addresses.some(({ family }) => family === 'ipv6'))
      : nics.find(({ addresses }) => addresses.some((cidr) => inSubnet(cidr, gateway)));
    return {
      to: masked(parseCidr(to)),
      via: gateway,
      linkIndex: nic?.linkIndex ?? 0,
      protocol: ourProtocol,
    };
  });
}

/** Gives the namespace exactly the `wanted` routes of ours. */
export async function ensureRoutes(
  netlink: NetlinkTransport,
  wanted: readonly Route[],
  options: RequestOptions,
): Promise<void> {
  const current = await listRoutes(netlink, ourProtocol, options);
  const wantedTexts = new Set(wanted.map(routeText));
  const surplus = current.filter((route) => !wantedTexts.has(routeText(route)));
  const present = new Set(current.map(routeText));
  const missing = wanted.filter((route) => !present.has(routeText(route)));
  await Promise.all(surplus.map((route) => removeRoute(netlink, route, options)));
  await Promise.all(missing.map((route) => setRoute(netlink, route, options)));
}

function routeText({ to, via }: Route): string {
  return `${cidrText(to)} via ${ipText(via)}`;
}

/** The kernel refuses a route to 10.0.0.1/24; people write that. */
function masked(cidr: Cidr): Cidr {
  const bytes = Buffer.from(cidr.bytes);
  for (let bit = cidr.prefixLength; bit < bytes.length * 8; bit += 1) {
    bytes[bit >> 3] = (bytes[bit >> 3] ?? 0) & ~(0x80 >> (bit & 7));
  }
  return { ...cidr, bytes };
}
