/**
 * Runs inside a client: asks ADDRESS for an echo every so many ms (RFC 792, RFC 4443) and prints
 * `ok NUMBER WALLCLOCKMS` for every answer. Usage: ping-loop ADDRESS EVERYMS. Ends on SIGINT.
 *
 * Not ping(8): while an answer is missing, that asks only every 10 ms (its MININTERVAL), however short
 * `-i` is, and while none is it spins on a processor that a lab's hosts have to share.
 */
import { randomInt } from 'node:crypto';
import { scheduleRealTime } from '../ffi/scheduling.js';
import { openSocket, receiveFrom, SOCK_RAW, SocketWatch, sendTo } from '../ffi/sockets.js';
import { ipBytes } from '../network/addresses.js';
import { type EchoFamily, echoRequest, repliedTo } from './echo.js';

const [address = '', every = ''] = process.argv.slice(2);
const everyMs = Number(every);
const bytes = ipBytes(address);
const family: EchoFamily = bytes.length === 4 ? 'ipv4' : 'ipv6';
const AF_INET = 2;
const AF_INET6 = 10;
const IPPROTO_ICMP = 1;
const IPPROTO_ICMPV6 = 58;

/** struct sockaddr_in or sockaddr_in6 (ip(7), ipv6(7)); no port, no scope. */
function socketAddress(): Buffer {
  const there = Buffer.alloc(family === 'ipv4' ? 16 : 28);
  there.writeUInt16LE(family === 'ipv4' ? AF_INET : AF_INET6, 0);
  there.set(bytes, family === 'ipv4' ? 4 : 8);
  return there;
}

try {
  // A client is a machine of its own: what hosts do on the processors that it shares with them in a lab
  // must not keep it from asking, or from hearing an answer.
  scheduleRealTime();
} catch {
  // Where that is forbidden, its figures are what they are.
}
const fd =
  family === 'ipv4'
    ? openSocket(AF_INET, SOCK_RAW, IPPROTO_ICMP)
    : openSocket(AF_INET6, SOCK_RAW, IPPROTO_ICMPV6);
const there = socketAddress();
const id = randomInt(0x1_0000);
const received = Buffer.alloc(2_048);
const from = Buffer.alloc(28);
let sent = 0;
let dueMs = performance.now();

function ask(): void {
  try {
    sendTo(fd, echoRequest(family, id, ++sent & 0xffff), there);
  } catch {
    // No way there just now: one that is not answered.
  }
  dueMs = Math.max(dueMs + everyMs, performance.now());
  setTimeout(ask, dueMs - performance.now());
}

function listen(): void {
  for (;;) {
    const { length } = receiveFrom(fd, received, from) ?? {};
    if (length === undefined) return;
    const sequence = repliedTo(family, received.subarray(0, length), id);
    if (sequence === undefined) continue;
    const number = sent - ((sent - sequence) & 0xffff);
    process.stdout.write(`ok ${number} ${performance.timeOrigin + performance.now()}\n`);
  }
}

new SocketWatch(fd, () => {
  try {
    listen();
  } catch {
    // Told of what happened to an earlier request; the socket stays usable.
  }
});
process.on('SIGINT', () => process.exit(0));
ask();
