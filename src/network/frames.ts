/**
 * The few frames we write and read ourselves, byte for byte: ARP (RFC 826, RFC 5227) and neighbour
 * discovery (RFC 4861). Addresses are bytes: 6 for a MAC, 4 or 16 for an IP address.
 */
export const ETH_P_ARP = 0x0806;
export const ETH_P_IPV6 = 0x86dd;

const ETHERNET_BYTES = 14;
const ARP_BYTES = 28;
const IPV6_BYTES = 40;
/** Neighbour solicitation or advertisement without options. */
const ND_BYTES = 24;
const LINK_LAYER_OPTION_BYTES = 8;

const ARP_REQUEST = 1;
const ARP_REPLY = 2;
const ICMPV6 = 58;
const NEIGHBOUR_SOLICITATION = 135;
const NEIGHBOUR_ADVERTISEMENT = 136;
const SOURCE_LINK_LAYER = 1;
const TARGET_LINK_LAYER = 2;
const OVERRIDE = 0x20;
/** RFC 4861 section 7.1: anything else came through a router. */
const HOP_LIMIT = 255;

const broadcastMac = Buffer.alloc(6, 0xff);
const noMac = Buffer.alloc(6);
const allNodes = Buffer.from([0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);

/**
 * Both forms of announcement for an IPv4 address, to everybody: the request that RFC 5227 section
 * 2.3 prescribes, and the reply that some devices listen to instead.
 */
export function gratuitousArps(mac: Uint8Array, address: Uint8Array): readonly Buffer[] {
  return [
    arp(broadcastMac, ARP_REQUEST, mac, address, noMac, address),
    arp(broadcastMac, ARP_REPLY, mac, address, broadcastMac, address),
  ];
}

/** "Who has `wanted`? Tell `address`." A sender address of zeros makes it a probe (RFC 5227). */
export function arpRequest(mac: Uint8Array, address: Uint8Array, wanted: Uint8Array): Buffer {
  return arp(broadcastMac, ARP_REQUEST, mac, address, noMac, wanted);
}

function arp(
  to: Uint8Array,
  operation: number,
  senderMac: Uint8Array,
  sender: Uint8Array,
  targetMac: Uint8Array,
  target: Uint8Array,
): Buffer {
  const body = Buffer.alloc(ARP_BYTES);
  body.writeUInt16BE(1, 0);
  body.writeUInt16BE(0x0800, 2);
  body.writeUInt8(6, 4);
  body.writeUInt8(4, 5);
  body.writeUInt16BE(operation, 6);
  body.set(senderMac, 8);
  body.set(sender, 14);
  body.set(targetMac, 18);
  body.set(target, 24);
  return ethernet(to, senderMac, ETH_P_ARP, body);
}

/** Unsolicited neighbour advertisement to all nodes, with the override flag (RFC 4861 section 7.2.6). */
export function unsolicitedAdvertisement(mac: Uint8Array, address: Uint8Array): Buffer {
  const body = neighbourMessage(NEIGHBOUR_ADVERTISEMENT, address, TARGET_LINK_LAYER, mac);
  body.writeUInt8(OVERRIDE, 4);
  return icmpv6(mac, address, allNodes, body);
}

/** "Who has `wanted`?", to its solicited-node group (RFC 4861 section 7.2.2). */
export function neighbourSolicitation(
  mac: Uint8Array,
  address: Uint8Array,
  wanted: Uint8Array,
): Buffer {
  const group = Buffer.from([0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff, 0, 0, 0]);
  group.set(wanted.subarray(13), 13);
  const body = neighbourMessage(NEIGHBOUR_SOLICITATION, wanted, SOURCE_LINK_LAYER, mac);
  return icmpv6(mac, address, group, body);
}

function neighbourMessage(
  type: number,
  target: Uint8Array,
  optionType: number,
  mac: Uint8Array,
): Buffer {
  const body = Buffer.alloc(ND_BYTES + LINK_LAYER_OPTION_BYTES);
  body.writeUInt8(type, 0);
  body.set(target, 8);
  body.writeUInt8(optionType, ND_BYTES);
  body.writeUInt8(LINK_LAYER_OPTION_BYTES / 8, ND_BYTES + 1);
  body.set(mac, ND_BYTES + 2);
  return body;
}

/** `to` is a multicast address; the Ethernet destination follows from it (RFC 2464 section 7). */
function icmpv6(mac: Uint8Array, from: Uint8Array, to: Uint8Array, body: Buffer): Buffer {
  const header = Buffer.alloc(IPV6_BYTES);
  header.writeUInt8(0x60, 0);
  header.writeUInt16BE(body.length, 4);
  header.writeUInt8(ICMPV6, 6);
  header.writeUInt8(HOP_LIMIT, 7);
  header.set(from, 8);
  header.set(to, 24);
  body.writeUInt16BE(0, 2);
  body.writeUInt16BE(icmpv6Checksum(header, body), 2);
  const multicast = Buffer.from([0x33, 0x33, ...to.subarray(12)]);
  return ethernet(multicast, mac, ETH_P_IPV6, Buffer.concat([header, body]));
}

function ethernet(to: Uint8Array, from: Uint8Array, type: number, body: Buffer): Buffer {
  const header = Buffer.alloc(ETHERNET_BYTES);
  header.set(to, 0);
  header.set(from, 6);
  header.writeUInt16BE(type, 12);
  return Buffer.concat([header, body]);
}

/** Ones' complement of the sum over pseudo header and message (RFC 4443 section 2.3); 0 if it is right already. */
function icmpv6Checksum(header: Buffer, body: Buffer): number {
  let sum = body.length + ICMPV6;
  for (let at = 8; at < IPV6_BYTES; at += 2) sum += header.readUInt16BE(at);
  for (let at = 0; at + 1 < body.length; at += 2) sum += body.readUInt16BE(at);
  if (body.length % 2 === 1) sum += (body.at(-1) ?? 0) << 8;
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  return ~sum & 0xffff;
}

/** Of classic BPF: load a half word or byte at an offset of the frame, compare, return. */
const LOAD_HALF = 0x28;
const LOAD_BYTE = 0x30;
const JUMP_IF_EQUAL = 0x15;
const RETURN = 0x06;

type Instruction = readonly [code: number, yes: number, no: number, operand: number];

/** Socket filter: ARP replies. */
export const arpReplyFilter: readonly Instruction[] = [
  [LOAD_HALF, 0, 0, 12],
  [JUMP_IF_EQUAL, 0, 3, ETH_P_ARP],
  [LOAD_HALF, 0, 0, 20],
  [JUMP_IF_EQUAL, 0, 1, ARP_REPLY],
  [RETURN, 0, 0, 0xffff],
  [RETURN, 0, 0, 0],
];

/** Socket filter: neighbour advertisements. A busy NIC must not wake us for everything else. */
export const advertisementFilter: readonly Instruction[] = [
  [LOAD_HALF, 0, 0, 12],
  [JUMP_IF_EQUAL, 0, 5, ETH_P_IPV6],
  [LOAD_BYTE, 0, 0, 20],
  [JUMP_IF_EQUAL, 0, 3, ICMPV6],
  [LOAD_BYTE, 0, 0, 54],
  [JUMP_IF_EQUAL, 0, 1, NEIGHBOUR_ADVERTISEMENT],
  [RETURN, 0, 0, 0xffff],
  [RETURN, 0, 0, 0],
];

/** Somebody's word that `address` is at `mac`. */
export interface Claim {
  readonly address: Buffer;
  /** MAC in the message. */
  readonly mac: Buffer;
  /** MAC the frame itself came from; differs from `mac` when somebody answers for another. */
  readonly ethernetSource: Buffer;
}

/** An ARP reply as received; undefined for anything else, also for what is cut short. */
export function parseArpReply(frame: Buffer): Claim | undefined {
  if (frame.length < ETHERNET_BYTES + ARP_BYTES) return undefined;
  if (frame.readUInt16BE(12) !== ETH_P_ARP) return undefined;
  const body = frame.subarray(ETHERNET_BYTES);
  const ethernetAndIpv4 = body.readUInt32BE(0) === 0x0001_0800 && body.readUInt16BE(4) === 0x0604;
  if (!ethernetAndIpv4 || body.readUInt16BE(6) !== ARP_REPLY) return undefined;
  return {
    mac: body.subarray(8, 14),
    address: body.subarray(14, 18),
    ethernetSource: frame.subarray(6, 12),
  };
}

/**
 * A valid neighbour advertisement (RFC 4861 section 7.1.2) with its link-layer address; undefined
 * for anything else. One without that option says nothing about a MAC and counts as anything else.
 */
export function parseAdvertisement(frame: Buffer): Claim | undefined {
  if (frame.length < ETHERNET_BYTES + IPV6_BYTES + ND_BYTES) return undefined;
  if (frame.readUInt16BE(12) !== ETH_P_IPV6) return undefined;
  const header = frame.subarray(ETHERNET_BYTES, ETHERNET_BYTES + IPV6_BYTES);
  const length = header.readUInt16BE(4);
  const body = frame.subarray(ETHERNET_BYTES + IPV6_BYTES, ETHERNET_BYTES + IPV6_BYTES + length);
  if (body.length !== length || length < ND_BYTES) return undefined;
  if (header.readUInt8(0) >> 4 !== 6 || header.readUInt8(6) !== ICMPV6) return undefined;
  if (header.readUInt8(7) !== HOP_LIMIT || icmpv6Checksum(header, body) !== 0) return undefined;
  if (body.readUInt16BE(0) !== NEIGHBOUR_ADVERTISEMENT << 8) return undefined;
  const mac = linkLayerOption(body);
  if (mac === undefined) return undefined;
  return { mac, address: body.subarray(8, 24), ethernetSource: frame.subarray(6, 12) };
}

function linkLayerOption(body: Buffer): Buffer | undefined {
  let at = ND_BYTES;
  while (at + 2 <= body.length) {
    const length = body.readUInt8(at + 1) * 8;
    // Length zero: the whole message is to be dropped (RFC 4861 section 4.6).
    if (length === 0 || at + length > body.length) return undefined;
    if (body.readUInt8(at) === TARGET_LINK_LAYER) return body.subarray(at + 2, at + 8);
    at += length;
  }
  return undefined;
}
