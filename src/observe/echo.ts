export type EchoFamily = 'ipv4' | 'ipv6';

const HEADER_BYTES = 8;
/** As ping(8) sends. */
const DATA_BYTES = 56;
/** RFC 792 and RFC 4443 section 4. */
const types = { ipv4: { request: 8, reply: 0 }, ipv6: { request: 128, reply: 129 } } as const;

/** An ICMP echo request; the kernel sums up what is ICMPv6 itself (RFC 3542 section 3.1). */
export function echoRequest(family: EchoFamily, id: number, sequence: number): Buffer {
  const message = Buffer.alloc(HEADER_BYTES + DATA_BYTES);
  message.writeUInt8(types[family].request, 0);
  message.writeUInt16BE(id, 4);
  message.writeUInt16BE(sequence, 6);
  if (family === 'ipv4') message.writeUInt16BE(internetChecksum(message), 2);
  return message;
}

/**
 * @param received from a raw socket: of IPv4 with the IP header (raw(7)), of IPv6 without
 * @returns the sequence number of an echo reply with this id; undefined for all else
 */
export function repliedTo(family: EchoFamily, received: Buffer, id: number): number | undefined {
  const start = family === 'ipv4' ? ((received[0] ?? 0) & 0x0f) * 4 : 0;
  if (received.length < start + HEADER_BYTES) return undefined;
  if (received.readUInt8(start) !== types[family].reply) return undefined;
  if (received.readUInt16BE(start + 4) !== id) return undefined;
  return received.readUInt16BE(start + 6);
}

/** RFC 1071, of an even number of bytes. */
export function internetChecksum(bytes: Buffer): number {
  let sum = 0;
  for (let at = 0; at < bytes.length; at += 2) sum += bytes.readUInt16BE(at);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  return ~sum & 0xffff;
}
