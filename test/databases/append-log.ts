import { createHash } from 'node:crypto';
import { fsyncSync, openSync, readFileSync, writeSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { parseLog } from './content.js';

/**
 * An append log as a program of its own, run where the volume is: each line of input is one record,
 * written with its checksum and synced before it is acknowledged.
 *
 * Arguments: the file. Input: `SEQ CLIENT TEXT`; output: `ack SEQ`. With `read` as well: what is whole, as
 * `CLIENT SEQ DIGEST`.
 */
const [file = '', mode] = process.argv.slice(2);

function append(): void {
  const fd = openSync(file, 'a', 0o600);
  createInterface({ input: process.stdin }).on('line', (line) => {
    const sum = createHash('sha256').update(line).digest('hex');
    writeSync(fd, `${sum} ${line}\n`);
    fsyncSync(fd);
    process.stdout.write(`ack ${line.slice(0, line.indexOf(' '))}\n`);
  });
}

function read(): void {
  const entries = parseLog(readFileSync(file, 'utf8'));
  const lines = entries.map(({ client, seq, digest }) => `${client} ${seq} ${digest}\n`);
  process.stdout.write(lines.join(''));
}

if (mode === 'read') read();
else append();
