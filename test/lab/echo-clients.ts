/**
 * Runs inside a client: keeps one connection a source port to a shared address, says something on
 * each every 50 ms, and prints `PORT NAME` at the first answer, `PORT moved NAME` when another member
 * answers, `PORT broken WHY` when one ends. Usage: echo-clients ADDRESS FIRSTPORT COUNT.
 */
import { connect } from 'node:net';

const [address = '', first = '0', count = '0'] = process.argv.slice(2);
const everyMs = 50;

for (let index = 0; index < Number(count); index++) {
  const localPort = Number(first) + index;
  const socket = connect({ host: address, port: 80, localPort });
  let member: string | undefined;
  const timer = setInterval(() => socket.write('who\n'), everyMs);
  socket.on('data', (data: Buffer) => {
    for (const name of data.toString().trim().split('\n')) {
      if (member === undefined) process.stdout.write(`${localPort} ${name}\n`);
      else if (name !== member) process.stdout.write(`${localPort} moved ${name}\n`);
      member = name;
    }
    process.stdout.write(`${localPort} alive ${Date.now()}\n`);
  });
  const broken = (why: string) => {
    clearInterval(timer);
    process.stdout.write(`${localPort} broken ${why}\n`);
  };
  socket.on('error', (error) => broken(error.message));
  socket.on('end', () => broken('ended by the other side'));
}
