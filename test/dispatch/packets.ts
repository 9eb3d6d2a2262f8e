import ipaddr from 'ipaddr.js';

/** Frames to the byte, for programs that read them. Checksums are left zero: no program looks. */
export const mac = (text: string): Buffer => Buffer.from(text.replaceAll(':', ''), 'hex');
export const ip = (text: string): Buffer => Buffer.from(ipaddr.parse(text).toByteArray());

export const ethernet = (to: string, from: string, type: number, payload: Uint8Array): Buffer =>
  Buffer.concat([mac(to), mac(from), be16(type), payload]);

export function be16(...words: readonly number[]): Buffer {
  const bytes = Buffer.alloc(words.length * 2);
  for (const [at, word] of words.entries()) bytes.writeUInt16BE(word, at * 2);
  return bytes;
}

export interface Ipv4Fields {
  readonly from: string;
  readonly to: string;
  readonly protocol: number;
  /** In 8 bytes, with the more-fragments flag as 0x2000. */
  readonly fragment?: number;
  /** Bytes, a multiple of 4. */
  readonly options?: number;
  readonly version?: number;
  readonly headerWords?: number;
  readonly totalBytes?: number;
}

export function ipv4(fields: Ipv4Fields, payload: Uint8Array): Buffer {
  const { from, to, protocol, fragment = 0, options = 0, version = 4 } = fields;
  const words = fields.headerWords ?? 5 + options / 4;
  const total = fields.totalBytes ?? 20 + options + payload.length;
  return Buffer.concat([
    Buffer.from([(version << 4) | words, 0]),
    be16(total, 7, fragment),
    Buffer.from([64, protocol, 0, 0]),
    ip(from),
    ip(to),
    Buffer.alloc(options, 1),
    payload,
  ]);
}

export interface Ipv6Fields {
  readonly from: string;
  readonly to: string;
  readonly next: number;
  readonly version?: number;
  readonly payloadBytes?: number;
}

export function ipv6(fields: Ipv6Fields, payload: Uint8Array): Buffer {
  const { from, to, next, version = 6, payloadBytes = payload.length } = fields;
  return Buffer.concat([
    Buffer.from([version << 4, 0, 0, 0]),
    be16(payloadBytes),
    Buffer.from([next, 64]),
    ip(from),
    ip(to),
    payload,
  ]);
}

/** Hop-by-hop, destination options, routing: `next`, length in 8 bytes beyond the first. */
export const extension = (
  next: number,
  payload: Uint8Array,
  more = 0,
  third = 0,
  fourth = 0,
): Buffer =>
  Buffer.concat([Buffer.from([next, more, third, fourth]), Buffer.alloc(4 + more * 8), payload]);

/** Fragment header; `field` is offset (in 8 bytes) times 8 plus the more flag. */
export const fragmentHeader = (next: number, field: number, payload: Uint8Array): Buffer =>
  Buffer.concat([Buffer.from([next, 0]), be16(field), Buffer.from([0, 0, 0, 9]), payload]);

/** Authentication header with a 12-byte check value (RFC 4302): 24 bytes. */
export const authentication = (next: number, payload: Uint8Array): Buffer =>
  Buffer.concat([Buffer.from([next, 4]), Buffer.alloc(22), payload]);

/** Flags: 0x02 SYN, 0x10 ACK. */
export const tcp = (from: number, to: number, data = 'GET', flags = 0x10): Buffer =>
  Buffer.concat([
    be16(from, to),
    Buffer.alloc(8),
    Buffer.from([0x50, flags, 0xff, 0xff, 0, 0, 0, 0]),
    Buffer.from(data),
  ]);

export const udp = (from: number, to: number, data: Uint8Array = Buffer.from('query')): Buffer =>
  Buffer.concat([be16(from, to, 8 + data.length, 0), data]);

export const icmp = (type: number, payload: Uint8Array): Buffer =>
  Buffer.concat([Buffer.from([type, 0, 0, 0, 0, 0, 0, 0]), payload]);
