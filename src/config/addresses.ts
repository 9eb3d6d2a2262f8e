import ipaddr from 'ipaddr.js';

/** An address or prefix, as far as the checks need it. */
export interface Prefix {
  readonly bytes: readonly number[];
  readonly bits: number;
}

export function parseAddress(text: string): readonly number[] | undefined {
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
