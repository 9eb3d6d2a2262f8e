import { createHash } from 'node:crypto';
import { fsyncSync, openSync, writeSync } from 'node:fs';
import { createInterface } from 'node:readline';

/**
 * An append log as a program of its own, run where the volume is: each line of input is one record,
 * written with its checksum and synced before it is acknowledged.
 *
 * Arguments: the file. Input: `SEQ TEXT`; output: `ack SEQ`.
 */
const fd = openSync(process.argv[2] ?? '', 'a', 0o600);
createInterface({ input: process.stdin }).on('line', (line) => {
  const sum = createHash('sha256').update(line).digest('hex');
  writeSync(fd, `${sum} ${line}\n`);
  fsyncSync(fd);
  process.stdout.write(`ack ${line.slice(0, line.indexOf(' '))}\n`);
});
