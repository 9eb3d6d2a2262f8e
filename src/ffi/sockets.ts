import koffi from 'koffi';
import { check, errno, libc, SystemCallError } from './libc.js';
import { checkedOffThread, type OffThread } from './off-thread.js';

/**
 * Raw sockets by descriptor: netlink and packet sockets, which Node does not have. All of them are
 * non-blocking; a socket keeps the network namespace it was made in (setns(2)), so one is made by
 * `inNetworkNamespace(path, () => openSocket(…))` and used from anywhere afterwards.
 */
export const AF_NETLINK = 16;
export const AF_PACKET = 17;
export const SOCK_RAW = 3;
export const SOL_SOCKET = 1;

const SOCK_CLOEXEC = 0o2000000;
const SOCK_NONBLOCK = 0o4000;
const F_SETFD = 2;
const FD_CLOEXEC = 1;
/** send(2): a reader that is gone is an error, not a signal. */
const MSG_NOSIGNAL = 0x4000;
/** recv(2): return the real length of a message that is longer than the buffer. */
const MSG_TRUNC = 0x20;

const libcSocket = libc.func('int socket(int domain, int type, int protocol)');
const libcBind = libc.func('int bind(int fd, void *address, uint32_t length)');
const libcSendto = libc.func(
  'int64 sendto(int fd, void *data, size_t length, int flags, void *address, uint32_t size)',
) as unknown as SendTo;
const libcRecvfrom = libc.func(
  'int64 recvfrom(int fd, void *data, size_t length, int flags, void *address, _Inout_ uint32_t *size)',
);
const libcSetsockopt = libc.func(
  'int setsockopt(int fd, int level, int name, void *value, uint32_t length)',
);
const libcFcntl = libc.func('int fcntl(int fd, int command, ...)');
const libcClose = libc.func('int close(int fd)') as unknown as Close;

type SendToArguments = [
  fd: number,
  data: Buffer,
  length: number,
  flags: number,
  address: Buffer | null,
  size: number,
];

interface SendTo extends OffThread<SendToArguments> {
  (...args: SendToArguments): number;
}

interface Close {
  (fd: number): number;
  async(fd: number, done: (thrown: unknown, result: number) => void): void;
}

/** Makes a non-blocking socket in the calling thread's network namespace. */
export function openSocket(domain: number, type: number, protocol: number): number {
  return check('socket', libcSocket(domain, type | SOCK_CLOEXEC | SOCK_NONBLOCK, protocol));
}

/** @param address a struct sockaddr of the socket's family */
export function bindSocket(fd: number, address: Buffer): void {
  check('bind', libcBind(fd, address, address.length));
}

/** An integer, or the bytes of a structure. */
export function setSocketOption(
  fd: number,
  level: number,
  name: number,
  value: number | Buffer,
): void {
  const bytes = typeof value === 'number' ? Buffer.alloc(4) : value;
  if (typeof value === 'number') bytes.writeInt32LE(value);
  check('setsockopt', libcSetsockopt(fd, level, name, bytes, bytes.length));
}

/** struct sock_filter, 8 bytes each: code, jump if true, jump if false, operand. */
export type FilterInstruction = readonly [code: number, yes: number, no: number, operand: number];

const SO_ATTACH_FILTER = 26;

/** Lets through only what a classic BPF program accepts (socket(7), SO_ATTACH_FILTER). */
export function attachFilter(fd: number, instructions: readonly FilterInstruction[]): void {
  const program = Buffer.alloc(8 * instructions.length);
  for (const [index, [code, yes, no, operand]] of instructions.entries()) {
    program.writeUInt16LE(code, 8 * index);
    program.writeUInt8(yes, 8 * index + 2);
    program.writeUInt8(no, 8 * index + 3);
    program.writeUInt32LE(operand, 8 * index + 4);
  }
  // struct sock_fprog: count, padding, pointer.
  const reference = Buffer.alloc(16);
  reference.writeUInt16LE(instructions.length, 0);
  reference.writeBigUInt64LE(koffi.address(program), 8);
  setSocketOption(fd, SOL_SOCKET, SO_ATTACH_FILTER, reference);
}

/** Sends one datagram. @throws {SystemCallError} also for a full queue (EAGAIN, ENOBUFS) */
export function sendTo(fd: number, data: Buffer, address: Buffer | null): void {
  check('sendto', libcSendto(fd, data, data.length, MSG_NOSIGNAL, address, address?.length ?? 0));
}

/**
 * The same on a thread of libuv's pool, for requests that the kernel works on for milliseconds
 * while it holds the caller (unregistering a device waits for RCU). Costs about 30 µs more.
 */
export function sendToOffThread(fd: number, data: Buffer): Promise<void> {
  return checkedOffThread('sendto', libcSendto, fd, data, data.length, MSG_NOSIGNAL, null, 0);
}

export interface Received {
  /** Real length of the message; more than the buffer holds if it was cut off. */
  readonly length: number;
  /** How much of the address buffer was written. */
  readonly addressLength: number;
}

/**
 * Takes one message off the queue; undefined when the queue is empty.
 *
 * @throws {SystemCallError} ENOBUFS: the kernel had to drop messages (netlink(7)); ENETDOWN: the
 *   device of a packet socket went down (packet(7)). The socket stays usable after both.
 */
export function receiveFrom(fd: number, buffer: Buffer, address: Buffer): Received | undefined {
  const size = [address.length];
  for (;;) {
    const length = Number(libcRecvfrom(fd, buffer, buffer.length, MSG_TRUNC, address, size));
    if (length >= 0) return { length, addressLength: size[0] ?? 0 };
    const code = koffi.errno();
    if (code === errno.EINTR) continue;
    if (code === errno.EAGAIN) return undefined;
    throw new SystemCallError('recvfrom', code);
  }
}

/** For one that a library made: no program that this process starts gets it (fcntl(2), FD_CLOEXEC). */
export function closeOnExec(fd: number): void {
  check('fcntl', libcFcntl(fd, F_SETFD, 'int', FD_CLOEXEC));
}

export function closeSocket(fd: number): void {
  libcClose(fd);
}

/** Closes on another thread: closing a packet socket waits for RCU (packet_release, af_packet.c). */
export function closeSocketOffThread(fd: number): void {
  libcClose.async(fd, () => undefined);
}

/** Calls `ready` whenever there is something to receive, or an error is pending; does not keep the process alive. */
export class SocketWatch {
  readonly #handle: ReturnType<typeof koffi.node.poll>;
  readonly #ready: () => void;
  #closed = false;

  constructor(fd: number, ready: () => void) {
    this.#ready = ready;
    this.#handle = koffi.node.poll(fd, { readable: true }, this.#called as () => void);
    this.#handle.unref();
  }

  /** koffi passes libuv's status first; libuv stops the poll on an error, which must not be the end. */
  readonly #called = (status: unknown): void => {
    if (this.#closed) return;
    this.#ready();
    if (this.#closed || typeof status !== 'number' || status >= 0) return;
    this.#handle.stop();
    this.#handle.start({ readable: true }, this.#called as () => void);
  };

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#handle.close();
  }
}
