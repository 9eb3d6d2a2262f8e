import {
  AF_NETLINK,
  bindSocket,
  closeSocket,
  openSocket,
  receiveFrom,
  SOCK_RAW,
  SOL_SOCKET,
  setSocketOption,
} from '../../ffi/sockets.js';

const NETLINK_ROUTE = 0;
const SO_RCVBUFFORCE = 33;
const SOL_NETLINK = 270;
const NETLINK_CAP_ACK = 10;
const NETLINK_EXT_ACK = 11;
const NETLINK_GET_STRICT_CHK = 12;
/** struct sockaddr_nl: family, padding, port id, groups. */
const ADDRESS_BYTES = 12;
/** Longest message taken. Dumps come in pieces of 32 KiB at most (netlink_dump, af_netlink.c). */
const RECEIVE_BYTES = 256 * 1024;

/** Reading is synchronous, so that all sockets can share the buffers. */
const receiveBuffer = Buffer.allocUnsafe(RECEIVE_BYTES);
const senderBuffer = Buffer.alloc(ADDRESS_BYTES);

/**
 * Opens an rtnetlink socket in the calling thread's network namespace: answers carry the kernel's
 * words (NETLINK_EXT_ACK), requests are not repeated in them (NETLINK_CAP_ACK), and dumps obey
 * their filters instead of ignoring them (NETLINK_GET_STRICT_CHK). Subscribed to nothing: events
 * and requests never share a socket, or a burst of events would drown answers.
 */
export function openRouteSocket(receiveBufferBytes: number): number {
  const fd = openSocket(AF_NETLINK, SOCK_RAW, NETLINK_ROUTE);
  try {
    setSocketOption(fd, SOL_SOCKET, SO_RCVBUFFORCE, receiveBufferBytes);
    for (const option of [NETLINK_CAP_ACK, NETLINK_EXT_ACK, NETLINK_GET_STRICT_CHK]) {
      setSocketOption(fd, SOL_NETLINK, option, 1);
    }
    const address = Buffer.alloc(ADDRESS_BYTES);
    address.writeUInt16LE(AF_NETLINK, 0);
    bindSocket(fd, address);
  } catch (thrown) {
    closeSocket(fd);
    throw thrown;
  }
  return fd;
}

/**
 * The next datagram of the kernel (a copy); undefined when there is none. One that some other
 * process sent is passed over, one that did not fit is given as empty.
 *
 * @throws {SystemCallError} ENOBUFS when datagrams were dropped
 */
export function receiveFromKernel(fd: number): Buffer | undefined {
  for (;;) {
    const received = receiveFrom(fd, receiveBuffer, senderBuffer);
    if (received === undefined) return undefined;
    const fromKernel = received.addressLength >= 8 && senderBuffer.readUInt32LE(4) === 0;
    if (!fromKernel) continue;
    if (received.length > RECEIVE_BYTES) return Buffer.alloc(0);
    return Buffer.from(receiveBuffer.subarray(0, received.length));
  }
}
