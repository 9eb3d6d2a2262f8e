/** A member: answers every line with its own name, on as many connections as come. */
import { createServer } from 'node:net';

const [name = ''] = process.argv.slice(2);
createServer((socket) => {
  socket.on('data', () => socket.write(`${name}\n`));
  socket.on('error', () => socket.destroy());
}).listen(80, '::');
