import { type Cidr, cidrText, isLinkLocal } from './addresses.js';
import { loopbackIndex } from './namespaces.js';
import {
  type AddressState,
  addAddress,
  RT_SCOPE_HOST,
  RT_SCOPE_LINK,
  removeAddress,
} from './netlink/ip-addresses.js';
import type { NetlinkTransport, RequestOptions } from './netlink/transport.js';

/**
 * Number that says an address or a route was set by us (`proto` in `ip`; none of those that
 * /etc/iproute2/rt_protos names). What others set in the namespace stays.
 */
export const ourProtocol = 117;

/** Gives a device exactly the `wanted` addresses of ours. */
export async function ensureAddresses(
  netlink: NetlinkTransport,
  linkIndex: number,
  wanted: readonly Cidr[],
  current: readonly AddressState[],
  options: RequestOptions,
): Promise<void> {
  const here = current.filter((address) => address.linkIndex === linkIndex);
  const texts = new Set(wanted.map(cidrText));
  const surplus = here.filter(
    (address) => address.protocol === ourProtocol && !texts.has(cidrText(address)),
  );
  const present = new Set(here.map(cidrText));
  const missing = wanted.filter((address) => !present.has(cidrText(address)));
  await Promise.all([
    ...surplus.map((address) => removeAddress(netlink, address, options)),
    ...missing.map((address) =>
      addAddress(netlink, { ...address, linkIndex, ...manners(address, linkIndex) }, options),
    ),
  ]);
}

/** A VIP on lo is answered from, but never chosen as the source of what the member itself begins. */
function manners(
  address: Cidr,
  linkIndex: number,
): { readonly protocol: number; readonly scope: number; readonly deprecated: boolean } {
  const onLoopback = linkIndex === loopbackIndex;
  const linkScope = isLinkLocal(address.bytes) ? RT_SCOPE_LINK : 0;
  return {
    protocol: ourProtocol,
    scope: onLoopback && address.family === 'ipv4' ? RT_SCOPE_HOST : linkScope,
    deprecated: onLoopback && address.family === 'ipv6',
  };
}
