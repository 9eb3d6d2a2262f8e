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
 * Why a GET of `path` is not answered with a status of 200 to 399, asked from inside a network namespace.
 *
 * @param address bytes of the IPv4 (4) or IPv6 (16) address; `host` is the same as a Host header has it
 * @param timeoutMs for connection and answer together
 * @returns undefined: it is
 */
export async function refusesHttp(
  namespacePath: string,
  address: Uint8Array,
  port: number,
  request: { readonly path: string; readonly host: string },
  timeoutMs: number,
): Promise<string | undefined> {
  const startedMs = performance.now();
  const { fd, why } = await connectTcp(namespacePath, address, port, timeoutMs);
  if (fd === undefined) return why;
  try {
    const bytes = Buffer.from(
      `GET ${request.path} HTTP/1.1\r\nHost: ${request.host}\r\nUser-Agent: understudy\r\nConnection: close\r\n\r\n`,
    );
    // Short, and the connection is new: it goes out whole or not at all.
    if (Number(send(fd, bytes, bytes.length, MSG_NOSIGNAL)) !== bytes.length) return hungUp;
    const line = await statusLine(fd, timeoutMs - (performance.now() - startedMs));
    if ('why' in line) return line.why;
    // Of what a member says only three digits are repeated.
    const status = /^HTTP\/1\.[01] (\d{3})(?: |$)/.exec(line.text)?.[1];
    if (status === undefined) return noHttp;
    return Number(status) >= 200 && Number(status) < 400 ? undefined : `HTTP status ${status}`;
  } finally {
    close(fd);
  }
}

const hungUp = 'HTTP: the connection ended before an answer';
const noHttp = 'HTTP: the answer is no HTTP';

type Line = { readonly text: string } | { readonly why: string };

/** The first line, or why there is none. */
function statusLine(fd: number, timeoutMs: number): Promise<Line> {
  return new Promise((resolve) => {
    let text = '';
    const done = (line: Line) => {
      clearTimeout(timer);
      handle.close();
      resolve(line);
    };
    const late = { why: 'HTTP: no answer in time' };
    const timer = setTimeout(() => done(late), Math.max(timeoutMs, 1));
    const handle = koffi.node.poll(fd, { readable: true }, () => {
      const bytes = Buffer.alloc(mostBytes);
      const length = Number(recv(fd, bytes, bytes.length, 0));
      // The end or an error: no whole line any more.
      if (length <= 0) return done({ why: hungUp });
      text += bytes.toString('latin1', 0, length);
      const end = text.indexOf('\r\n');
      if (end >= 0) done({ text: text.slice(0, end) });
      else if (text.length > mostBytes) done({ why: noHttp });
    });
  });
}
