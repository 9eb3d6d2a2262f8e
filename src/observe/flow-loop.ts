/**
 * Runs inside a client: opens a TCP connection every ms, each from a source port of its own, and prints
 * `PORT WALLCLOCKMS taken` or `PORT WALLCLOCKMS refused` (the time is when it was opened); nothing for one
 * that got no answer. Usage: flow-loop ADDRESS PORT FIRSTPORT LASTPORT. Ends on SIGINT.
 */
import { connect } from 'node:net';

const [host = '', port = '', first = '', last = ''] = process.argv.slice(2);
const everyMs = 1;

let localPort = Number(first);
let dueMs = performance.now();

function open(): void {
  const from = localPort;
  localPort = from === Number(last) ? Number(first) : from + 1;
  const atMs = performance.timeOrigin + performance.now();
  const tell = (what: string) => process.stdout.write(`${from} ${atMs.toFixed(3)} ${what}\n`);
  const socket = connect({ host, port: Number(port), localPort: from });
  socket.once('connect', () => {
    tell('taken');
    // No TIME_WAIT, so that the port can be used again.
    socket.resetAndDestroy();
  });
  socket.once('error', (error: NodeJS.ErrnoException) => {
    if (error.code === 'ECONNREFUSED') tell('refused');
    socket.destroy();
  });
}

/** A late timer makes up for nothing: what was missed is not opened in a burst. */
function next(): void {
  open();
  dueMs = Math.max(dueMs + everyMs, performance.now());
  setTimeout(next, dueMs - performance.now());
}

process.on('SIGINT', () => process.exit(0));
next();
