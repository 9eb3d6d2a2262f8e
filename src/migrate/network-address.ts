import ipaddr from 'ipaddr.js';

/** The subnet of an address: `10.0.0.7`, 24 → `10.0.0.0/24`. */
export function networkAddress(address: string, bits: number): string {
  const family = ipaddr.parse(address).kind() === 'ipv6' ? ipaddr.IPv6 : ipaddr.IPv4;
  return `${family.networkAddressFromCIDR(`${address}/${bits}`).toString()}/${bits}`;
}
