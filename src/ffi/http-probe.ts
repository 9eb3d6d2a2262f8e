import koffi from 'koffi';
import { libc } from './libc.js';
import { connectTcp } from './tcp-probe.js';

/** send(2): no SIGPIPE when the other side has gone. */
const MSG_NOSIGNAL = 0x4000;
/** A status line is far shorter; what comes after it is not read. */
const mostBytes = 4_096;

const send = libc.func('long send(int fd, void *bytes, size_t length, int flags)');
const recv = libc.func('long recv(int fd, void *bytes, size_t length, int flags)');
const close = libc.func('int close(int fd)');

/**
 * Whether a GET of `path` is answered with a status of 200 to 399, asked from inside a network namespace.
 *
 * @param address bytes of the IPv4 (4) or IPv6 (16) address; `host` is the same as a Host header has it
 * @param timeoutMs for connection and answer together
 */
export async function answersHttp(
  namespacePath: string,
  address: Uint8Array,
  port: number,
  request: { readonly path: string; readonly host: string },
  timeoutMs: number,
): Promise<boolean> {
  const startedMs = performance.now();
  const fd = await connectTcp(namespacePath, address, port, timeoutMs);
  if (fd === undefined) return false;
  try {
    const bytes = Buffer.from(
      `GET ${request.path} HTTP/1.1\r\nHost: ${request.host}\r\nUser-Agent: understudy\r\nConnection: close\r\n\r\n`,
    );
    // Short, and the connection is new: it goes out whole or not at all.
    if (Number(send(fd, bytes, bytes.length, MSG_NOSIGNAL)) !== bytes.length) return false;
    const line = await statusLine(fd, timeoutMs - (performance.now() - startedMs));
    const status = Number(/^HTTP\/1\.[01] (\d{3})(?: |$)/.exec(line ?? '')?.[1] ?? 0);
    return status >= 200 && status < 400;
  } finally {
    close(fd);
  }
}

/** @returns undefined when none comes in time, or something else does */
function statusLine(fd: number, timeoutMs: number): Promise<string | undefined> {
  return new Promise((resolve) => {
    let text = '';
    const done = (line: string | undefined) => {
      clearTimeout(timer);
      handle.close();
      resolve(line);
    };
    const timer = setTimeout(() => done(undefined), Math.max(timeoutMs, 1));
    const handle = koffi.node.poll(fd, { readable: true }, () => {
      const bytes = Buffer.alloc(mostBytes);
      const length = Number(recv(fd, bytes, bytes.length, 0));
      // The end or an error: no whole line any more.
      if (length <= 0) return done(undefined);
      text += bytes.toString('latin1', 0, length);
      const end = text.indexOf('\r\n');
      if (end >= 0) done(text.slice(0, end));
      else if (text.length > mostBytes) done(undefined);
    });
  });
}
