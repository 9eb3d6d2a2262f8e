import { createHmac, timingSafeEqual } from 'node:crypto';
import type { Ailments } from '../control/lease/ailments.js';

/**
 * What pulses send each other over UDP. All numbers big-endian:
 *
 *   0  magic 'US'           28  seq, u64
 *   2  version, u8          36  send time of the heartbeat, ns, u64
 *   3  type, u8             44  ack id, u64
 *   4  length of sender     52  lease granted, ns, u64
 *   5  length of receiver   60  sender, receiver (ASCII, 1..63 bytes each)
 *   6  set of controllers, u16  HMAC-SHA-256 of all before it, first 16 bytes (RFC 2104, section 5)
 *   8  incarnation, u32
 *  12  nonce, 16 bytes
 *
 * Answers repeat incarnation, nonce, seq and send time of the heartbeat they answer. The ack id
 * of an answer is its own; that of a heartbeat is the newest one received from this controller (0:
 * none), its echo. Before sets of controllers had numbers, bytes 6 and 7 were zero: the first set's.
 *
 * Version 2 has one byte more at 60, before the names: what ails the sender of a heartbeat. It is sent
 * only to who says in its answers, by bytes 6 and 7, that it takes it, and only while something does.
 */
export interface Packet {
  readonly type: PacketType;
  readonly sender: string;
  readonly receiver: string;
  readonly incarnation: number;
  /** 32 hex digits. */
  readonly nonce: string;
  readonly seq: bigint;
  readonly sentAtNs: bigint;
  readonly ackId: bigint;
  /** Of an ack what it grants, of a heartbeat a longer lease that it asks for; else 0n. */
  readonly leaseNs: bigint;
  /**
   * Of a heartbeat: under which set of controllers its lease is counted. Of an answer: `takesAilments`;
   * 0 of versions that know only version 1.
   */
  readonly set: number;
  /** Of a heartbeat that says so; left out for nothing. */
  readonly ailments?: Ailments;
}

const types = ['heartbeat', 'ack', 'challenge', 'refuse'] as const;
export type PacketType = (typeof types)[number];

/** Why bytes are no packet of ours. */
export type Malformed = 'malformed' | 'forged';

const magic = 0x5553;
const version = 1;
const versionWithAilments = 2;
const headBytes = 60;
const ailmentsBytes = 1;
const [dark, agentAway] = [1, 2];
/** In the answers of whoever takes heartbeats of version 2. */
export const takesAilments = 1;
const macBytes = 16;
const longestName = 63;
export const longestPacketBytes = headBytes + ailmentsBytes + 2 * longestName + macBytes;

export function encodePacket(packet: Packet, key: Buffer): Buffer {
  const sender = nameBytes(packet.sender);
  const receiver = nameBytes(packet.receiver);
  const { ailments } = packet;
  const namesAt = headBytes + (ailments === undefined ? 0 : ailmentsBytes);
  const bodyBytes = namesAt + sender.length + receiver.length;
  const bytes = Buffer.alloc(bodyBytes + macBytes);
  bytes.writeUInt16BE(magic, 0);
  bytes[2] = ailments === undefined ? version : versionWithAilments;
  bytes[3] = types.indexOf(packet.type) + 1;
  bytes[4] = sender.length;
  bytes[5] = receiver.length;
  bytes.writeUInt16BE(packet.set, 6);
  bytes.writeUInt32BE(packet.incarnation, 8);
  if (bytes.write(packet.nonce, 12, 16, 'hex') !== 16) throw new RangeError('nonce of a packet');
  bytes.writeBigUInt64BE(packet.seq, 28);
  bytes.writeBigUInt64BE(packet.sentAtNs, 36);
  bytes.writeBigUInt64BE(packet.ackId, 44);
  bytes.writeBigUInt64BE(packet.leaseNs, 52);
  if (ailments !== undefined) {
    bytes[headBytes] = (ailments.dark ? dark : 0) | (ailments.agentAway ? agentAway : 0);
  }
  sender.copy(bytes, namesAt);
  receiver.copy(bytes, namesAt + sender.length);
  authenticate(bytes.subarray(0, bodyBytes), key).copy(bytes, bodyBytes);
  return bytes;
}

/** The packet, or why there is none. Only its outline is looked at before its HMAC was right. */
export function decodePacket(bytes: Buffer, key: Buffer): Packet | Malformed {
  if (bytes.length < headBytes + 2 + macBytes || bytes.length > longestPacketBytes) {
    return 'malformed';
  }
  const ails = bytes[2] === versionWithAilments;
  if (bytes.readUInt16BE(0) !== magic || (bytes[2] !== version && !ails)) return 'malformed';
  const type = types[(bytes[3] ?? 0) - 1];
  const namesAt = headBytes + (ails ? ailmentsBytes : 0);
  const senderEnd = namesAt + (bytes[4] ?? 0);
  const bodyBytes = senderEnd + (bytes[5] ?? 0);
  const named = senderEnd > namesAt && bodyBytes > senderEnd;
  if (type === undefined || !named || bytes.length !== bodyBytes + macBytes) return 'malformed';
  const expected = authenticate(bytes.subarray(0, bodyBytes), key);
  if (!timingSafeEqual(expected, bytes.subarray(bodyBytes))) return 'forged';
  return {
    type,
    sender: bytes.toString('latin1', namesAt, senderEnd),
    receiver: bytes.toString('latin1', senderEnd, bodyBytes),
    incarnation: bytes.readUInt32BE(8),
    nonce: bytes.toString('hex', 12, 28),
    seq: bytes.readBigUInt64BE(28),
    sentAtNs: bytes.readBigUInt64BE(36),
    ackId: bytes.readBigUInt64BE(44),
    leaseNs: bytes.readBigUInt64BE(52),
    set: bytes.readUInt16BE(6),
    ...(ails ? { ailments: ailmentsIn(bytes[headBytes] ?? 0) } : {}),
  };
}

/** Bits of later versions say nothing to this one. */
function ailmentsIn(bits: number): Ailments {
  return { dark: (bits & dark) !== 0, agentAway: (bits & agentAway) !== 0 };
}

function nameBytes(name: string): Buffer {
  const bytes = Buffer.from(name, 'latin1');
  if (bytes.length < 1 || bytes.length > longestName) throw new RangeError('name in a packet');
  return bytes;
}

function authenticate(body: Buffer, key: Buffer): Buffer {
  return createHmac('sha256', key).update(body).digest().subarray(0, macBytes);
}
