import { setTimeout as pause } from 'node:timers/promises';
import { check, libc } from '../src/ffi/libc.js';

const socket = libc.func('int socket(int domain, int type, int protocol)');
const bind = libc.func('int bind(int fd, const void *address, uint32_t size)');
const recv = libc.func('intptr_t recv(int fd, void *data, size_t length, int flags)');
const close = libc.func('int close(int fd)');
const MSG_DONTWAIT = 0x40;
const longestMs = 5_000;

export interface NotifySocket {
  /** The oldest message; throws EWOULDBLOCK when there is none. */
  heard(): string;
  /** Waits for one. */
  next(): Promise<string>;
  close(): void;
}

/** What systemd would hear on a datagram socket at `name` (a leading NUL: abstract). */
export function listen(name: string): NotifySocket {
  const fd = check('socket', socket(1, 2, 0) as number);
  const address = Buffer.concat([Buffer.from([1, 0]), Buffer.from(name)]);
  check('bind', bind(fd, address, address.length) as number);
  const heard = () => {
    const data = Buffer.alloc(200);
    return data.toString('utf8', 0, check('recv', recv(fd, data, 200, MSG_DONTWAIT) as number));
  };
  const next = async () => {
    for (const endMs = performance.now() + longestMs; ; ) {
      try {
        return heard();
      } catch (thrown) {
        if (performance.now() > endMs) throw thrown;
        await pause(1);
      }
    }
  };
  return { heard, next, close: () => close(fd) };
}
