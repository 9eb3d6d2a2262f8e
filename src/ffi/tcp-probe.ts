import { getSystemErrorName } from 'node:util';
import koffi from 'koffi';
import { check, errno, libc, SystemCallError } from './libc.js';
import { inNetworkNamespace } from './namespace.js';

const AF_INET = 2;
const AF_INET6 = 10;
const SOCK_STREAM_NONBLOCK_CLOEXEC = 1 | 0o4000 | 0o2000000;
const SOL_SOCKET = 1;
const SO_ERROR = 4;

const socket = libc.func('int socket(int domain, int type, int protocol)');
const connect = libc.func('int connect(int fd, void *address, uint32_t length)');
const getsockopt = libc.func(
  'int getsockopt(int fd, int level, int name, void *value, _Inout_ uint32_t *length)',
);
const close = libc.func('int close(int fd)');

/**
 * Why nothing accepts TCP connections at address:port, asked from inside a network namespace.
 *
 * @param address bytes of the IPv4 (4) or IPv6 (16) address
 * @returns undefined: something does
 */
export async function refusesTcp(
  namespacePath: string,
  address: Uint8Array,
  port: number,
  timeoutMs: number,
): Promise<string | undefined> {
  const { fd, why } = await connectTcp(namespacePath, address, port, timeoutMs);
  if (fd === undefined) return why;
  close(fd);
  return undefined;
}

/** A connection, to be closed by whoever asked for it, or why there is none. */
export type Connected =
  | { readonly fd: number; readonly why?: never }
  | { readonly fd?: never; readonly why: string };

/**
 * A connection that does not block, made from inside a network namespace.
 *
 * The socket is made in the namespace in one synchronous step and used from here: node:net opens
 * its sockets a tick later, when this thread is back home.
 *
 * @returns its descriptor, or why nobody accepts within the time, e.g. 'connect: ECONNREFUSED'
 */
export function connectTcp(
  namespacePath: string,
  address: Uint8Array,
  port: number,
  timeoutMs: number,
): Promise<Connected> {
  const fd = inNetworkNamespace(namespacePath, () =>
    check(
      'socket',
      socket(address.length === 4 ? AF_INET : AF_INET6, SOCK_STREAM_NONBLOCK_CLOEXEC, 0),
    ),
  );
  const name = socketAddress(address, port);
  if (connect(fd, name, name.length) === 0) return Promise.resolve({ fd });
  const failure = koffi.errno();
  if (failure !== errno.EINPROGRESS) {
    close(fd);
    return Promise.resolve({ why: connectFailed(failure) });
  }
  return new Promise((resolve) => {
    const done = (connected: Connected) => {
      clearTimeout(timer);
      handle.close();
      if (connected.fd === undefined) close(fd);
      resolve(connected);
    };
    const late = { why: `connect: no answer within ${timeoutMs} ms` };
    const timer = setTimeout(() => done(late), timeoutMs);
    const handle = koffi.node.poll(fd, { writable: true }, () => {
      const failed = socketError(fd);
      done(failed === 0 ? { fd } : { why: connectFailed(failed) });
    });
  });
}

function connectFailed(failure: number): string {
  return `connect: ${getSystemErrorName(-failure)}`;
}

function socketError(fd: number): number {
  const value = Buffer.alloc(4);
  if (getsockopt(fd, SOL_SOCKET, SO_ERROR, value, [4]) < 0) {
    return new SystemCallError('getsockopt', koffi.errno()).errno;
  }
  return value.readInt32LE(0);
}

/** struct sockaddr_in / sockaddr_in6 (ip(7), ipv6(7)). */
function socketAddress(address: Uint8Array, port: number): Buffer {
  const v4 = address.length === 4;
  const name = Buffer.alloc(v4 ? 16 : 28);
  name.writeUInt16LE(v4 ? AF_INET : AF_INET6, 0);
  name.writeUInt16BE(port, 2);
  name.set(address, v4 ? 4 : 8);
  return name;
}
