import { check, libc } from './libc.js';

const AF_UNIX = 1;
const SOCK_DGRAM_CLOEXEC = 2 | 0o2000000;
const MSG_DONTWAIT = 0x40;
const openSocket = libc.func('int socket(int domain, int type, int protocol)') as (
  domain: number,
  type: number,
  protocol: number,
) => number;
const sendTo = libc.func(
  'intptr_t sendto(int fd, const void *data, size_t length, int flags, const void *address, uint32_t size)',
) as (
  fd: number,
  data: Buffer,
  length: number,
  flags: number,
  address: Buffer,
  size: number,
) => number;
const close = libc.func('int close(int fd)') as (fd: number) => number;

/**
 * Tells systemd about this service: `READY=1`, `STOPPING=1`, `WATCHDOG=1`, `STATUS=…`.
 *
 * Equals: `systemd-notify --ready` (sd_notify(3)), one AF_UNIX datagram to $NOTIFY_SOCKET, whose
 * leading `@` stands for the abstract namespace (unix(7)). Node has no datagram AF_UNIX. It never waits:
 * a service manager that does not read must not hold up its services.
 *
 * @returns whether anybody asked to be told
 * @throws {SystemCallError}
 */
export function notifyService(state: string, path = process.env.NOTIFY_SOCKET): boolean {
  if (path === undefined || path === '') return false;
  const name = Buffer.from(path.startsWith('@') ? `\0${path.slice(1)}` : `${path}\0`);
  const address = Buffer.alloc(2 + name.length);
  address.writeUInt16LE(AF_UNIX, 0);
  name.copy(address, 2);
  const fd = check('socket', openSocket(AF_UNIX, SOCK_DGRAM_CLOEXEC, 0));
  try {
    const data = Buffer.from(state);
    check(`sendto ${path}`, sendTo(fd, data, data.length, MSG_DONTWAIT, address, address.length));
  } finally {
    close(fd);
  }
  return true;
}
