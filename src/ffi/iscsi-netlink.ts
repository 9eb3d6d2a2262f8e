import { readFileSync } from 'node:fs';
import { release } from 'node:os';
import { errno, SystemCallError } from './libc.js';
import {
  AF_NETLINK,
  bindSocket,
  closeSocket,
  openSocket,
  receiveFrom,
  SOCK_RAW,
  sendToOffThread,
} from './sockets.js';

/**
 * The kernel's iSCSI initiator, as iscsid speaks to it (include/scsi/iscsi_if.h: the same size in every
 * release). The kernel does what it is told while it is sent, and answers who asked alone.
 */
const NETLINK_ISCSI = 8;
const headerBytes = 16;
/** struct iscsi_uevent: type, error, transport, 24 bytes of what is meant, 16 of the answer. */
const eventBytes = 56;
const meantAt = headerBytes + 16;
const answerAt = headerBytes + 40;
const uevents = { stopConnection: 18, sendPdu: 19 } as const;
const kernelError = 103;
const STOP_CONN_RECOVER = 3;

/**
 * Whether the kernel takes nothing for this connection until it is told to clean up after an error
 * (ISCSI_CLS_CONN_BIT_CLEANUP, Linux 5.14 and later). Changes nothing: it is asked to send a PDU that is longer than its message,
 * which it refuses in any case, with ENOTCONN in this.
 *
 * @throws {SystemCallError}
 */
export async function owesCleanup(session: number): Promise<boolean> {
  // Before 5.12 it would have sent it.
  if (Number.parseInt(release(), 10) < 6) return false;
  const meant = Buffer.alloc(16);
  meant.writeUInt32LE(session, 0);
  meant.writeUInt32LE(headerBytes, 8);
  return (await ask(uevents.sendPdu, meant)) === -(errno.ENOTCONN ?? 0);
}

/**
 * Has it clean up, as iscsid does before it connects anew: commands and disks of the session stay, and wait.
 * A connection that is up would be cut, and iscsid not know of it.
 *
 * @throws {SystemCallError}
 */
export async function cleanUp(session: number): Promise<void> {
  const meant = Buffer.alloc(24);
  meant.writeUInt32LE(session, 0);
  meant.writeUInt32LE(STOP_CONN_RECOVER, 16);
  const result = await ask(uevents.stopConnection, meant);
  if (result < 0) throw new SystemCallError('ISCSI_UEVENT_STOP_CONN', -result);
}

/** @returns 0, or what the kernel says against it, below 0. Of the first connection, the only one that Linux makes. */
async function ask(type: number, meant: Buffer): Promise<number> {
  const message = Buffer.alloc(headerBytes + eventBytes);
  message.writeUInt32LE(message.length, 0);
  message.writeUInt16LE(type, 4);
  message.writeUInt32LE(type, headerBytes);
  const transport = readFileSync('/sys/class/iscsi_transport/tcp/handle', 'utf8');
  message.writeBigUInt64LE(BigInt(transport.trim()), headerBytes + 8);
  meant.copy(message, meantAt);
  const fd = openSocket(AF_NETLINK, SOCK_RAW, NETLINK_ISCSI);
  try {
    const kernel = Buffer.alloc(12);
    kernel.writeUInt16LE(AF_NETLINK, 0);
    bindSocket(fd, kernel);
    // Whoever is before us may be ending a session, which takes the kernel as long as its disks do.
    await sendToOffThread(fd, message);
    const answer = Buffer.alloc(message.length);
    const received = receiveFrom(fd, answer, Buffer.alloc(12));
    if (received === undefined || received.length < answer.length) {
      throw new SystemCallError('NETLINK_ISCSI: no answer', errno.EPROTO ?? 0);
    }
    const failed = answer.readUInt32LE(headerBytes) === kernelError;
    return answer.readInt32LE(failed ? headerBytes + 4 : answerAt);
  } finally {
    closeSocket(fd);
  }
}
