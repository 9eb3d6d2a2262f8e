import ipaddr from 'ipaddr.js';
import { UnderstudyError } from '../errors.js';

/** Addresses between text and bytes. */
export type Family = 'ipv4' | 'ipv6';

export interface Cidr {
  readonly family: Family;
  /** 4 or 16 bytes, of the address itself (not of its network). */
  readonly bytes: Buffer;
  readonly prefixLength: number;
}

/** '10.0.0.1' or 'fd00::1'. @throws {UnderstudyError} US_NET_BAD_ADDRESS */
export function ipBytes(text: string): Buffer {
  if (!ipaddr.IPv4.isValidFourPartDecimal(text) && !ipaddr.IPv6.isValid(text)) throw bad(text);
  return Buffer.from(ipaddr.parse(text).toByteArray());
}

/** The usual text of 4 or 16 bytes; v6 as RFC 5952 has it. */
export function ipText(bytes: Uint8Array): string {
  if (bytes.length === 4) return bytes.join('.');
  return new ipaddr.IPv6([...bytes]).toRFC5952String();
}

/** '10.0.0.1/24', 'fd00::1/64'; without a length the address alone. @throws {UnderstudyError} US_NET_BAD_ADDRESS */
export function parseCidr(text: string): Cidr {
  const [address = '', length, ...rest] = text.split('/');
  const bytes = ipBytes(address);
  const bits = bytes.length * 8;
  const prefixLength = length === undefined ? bits : Number(length);
  if (rest.length > 0 || !/^\d+$/.test(length ?? '0') || prefixLength > bits) throw bad(text);
  return { family: bytes.length === 4 ? 'ipv4' : 'ipv6', bytes, prefixLength };
}

export function cidrText(cidr: Cidr): string {
  return `${ipText(cidr.bytes)}/${cidr.prefixLength}`;
}

/** One spelling for what means the same, to compare by. */
export function canonicalCidr(text: string): string {
  return cidrText(parseCidr(text));
}

/** Whether `address` lies in the network that `cidr` is part of. */
export function inSubnet(cidr: Cidr, address: Uint8Array): boolean {
  if (cidr.bytes.length !== address.length) return false;
  for (let bit = 0; bit < cidr.prefixLength; bit += 1) {
    const mask = 0x80 >> (bit & 7);
    if (((cidr.bytes[bit >> 3] ?? 0) & mask) !== ((address[bit >> 3] ?? 0) & mask)) return false;
  }
  return true;
}

/** '02:00:5e:10:20:30'. @throws {UnderstudyError} US_NET_BAD_ADDRESS */
export function macBytes(text: string): Buffer {
  if (!/^[0-9a-f]{2}(:[0-9a-f]{2}){5}$/i.test(text)) throw bad(text);
  return Buffer.from(text.replaceAll(':', ''), 'hex');
}

export function macText(bytes: Uint8Array): string {
  return [...bytes].map((byte) => byte.toString(16).padStart(2, '0')).join(':');
}

/**
 * The link-local address that follows from a MAC (RFC 4291 appendix A: modified EUI-64), so that
 * it moves along with the vMAC.
 */
export function linkLocalOf(mac: Uint8Array): Buffer {
  const [a = 0, b = 0, c = 0, d = 0, e = 0, f = 0] = mac;
  return Buffer.from([0xfe, 0x80, 0, 0, 0, 0, 0, 0, a ^ 0x02, b, c, 0xff, 0xfe, d, e, f]);
}

export function isLinkLocal(bytes: Uint8Array): boolean {
  return bytes.length === 16 && bytes[0] === 0xfe && ((bytes[1] ?? 0) & 0xc0) === 0x80;
}

function bad(text: string): UnderstudyError {
  return new UnderstudyError({
    code: 'US_NET_BAD_ADDRESS',
    action: 'cannot use',
    object: JSON.stringify(text),
    cause: 'this is not an address in the form expected here',
    remedy: 'write 10.0.0.1/24, fd00::1/64 or 02:00:5e:10:20:30',
  });
}
