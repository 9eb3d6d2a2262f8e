import ipaddr from 'ipaddr.js';

/** An address or prefix, as far as the checks need it. */
export interface Prefix {
  readonly bytes: readonly number[];
  readonly bits: number;
}

/** Bytes of an address; undefined for what is none. A zone (`%eth1`) means nothing to other hosts. */
export function parseAddress(text: string): readonly number[] | undefined {
  if (text.includes('%')) return undefined;
  if (!ipaddr.IPv4.isValidFourPartDecimal(text) && !ipaddr.IPv6.isValid(text)) return undefined;
  return ipaddr.parse(text).toByteArray();
}

export function parsePrefix(text: string): Prefix | undefined {
  const [address = '', length, ...rest] = text.split('/');
  const bytes = parseAddress(address);
  if (bytes === undefined || rest.length > 0 || !/^\d{1,3}$/.test(length ?? '')) return undefined;
  const bits = Number(length);
  return bits <= bytes.length * 8 ? { bytes, bits } : undefined;
}

export function contains(subnet: Prefix, address: readonly number[]): boolean {
  if (subnet.bytes.length !== address.length) return false;
  return address.every(
    (octet, index) => ((octet ^ (subnet.bytes[index] ?? 0)) & maskAt(subnet.bits, index)) === 0,
  );
}

export function overlaps(a: Prefix, b: Prefix): boolean {
  return a.bits <= b.bits ? contains(a, b.bytes) : contains(b, a.bytes);
}

/** Whether nothing is set outside the prefix: 10.0.0.0/24, not 10.0.0.1/24. */
export function isNetworkAddress({ bytes, bits }: Prefix): boolean {
  return bytes.every((octet, index) => (octet & ~maskAt(bits, index) & 0xff) === 0);
}

/** The prefix itself, in one spelling: 10.0.0.0/24 for 10.0.0.1/24. */
export function prefixText({ bytes, bits }: Prefix): string {
  const network = bytes.map((octet, index) => octet & maskAt(bits, index));
  return `${ipaddr.fromByteArray(network).toString()}/${bits}`;
}

const noHost: readonly string[] = [
  'unspecified',
  'broadcast',
  'multicast',
  'loopback',
  'ipv4Mapped',
];

/** Whether a NIC may have it: not 0.0.0.0, 127.0.0.1, 224.0.0.1, ::1, ff02::1, ::ffff:10.0.0.1. */
export function isHostAddress(text: string): boolean {
  return !noHost.includes(ipaddr.parse(text).range());
}

/**
 * Whether it is the address of the subnet itself: in IPv6 that is the anycast address of its routers
 * (RFC 4291 section 2.6.1). Links of two have none (RFC 3021, RFC 6164).
 */
export function isSubnetAddress(subnet: Prefix, address: readonly number[]): boolean {
  if (subnet.bits >= subnet.bytes.length * 8 - 1) return false;
  return address.every((octet, index) => octet === subnet.bytes[index]);
}

/** The one spelling that the kernel and the store use: `FD00:0::1/64` is fd00::1/64 (RFC 5952). */
export function canonical(text: string): string {
  const [address = '', length] = text.split('/');
  const spelled = ipaddr.parse(address).toString();
  return length === undefined ? spelled : `${spelled}/${Number(length)}`;
}

/** IPv4: all host bits set (RFC 919). Prefixes of 31 and 32 bits have none (RFC 3021). */
export function isBroadcast(subnet: Prefix, address: readonly number[]): boolean {
  if (address.length !== 4 || subnet.bits >= 31) return false;
  return address.every(
    (octet, index) =>
      (octet | maskAt(subnet.bits, index)) === 0xff || subnet.bits >= (index + 1) * 8,
  );
}

function maskAt(bits: number, index: number): number {
  const here = Math.min(8, Math.max(0, bits - index * 8));
  return (0xff << (8 - here)) & 0xff;
}
