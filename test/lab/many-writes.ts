import { constants, fsyncSync, openSync, write, writeSync } from 'node:fs';

/**
 * Keeps so many synchronous writes of a file under way, each in a thread of its own
 * (UV_THREADPOOL_SIZE), each to a block of its own. Says `ready` once every block was written.
 *
 * Arguments: the file, how many; and `at-once` to be ready when all are asked for, of a file whose blocks
 * were there before: a thousand allocations one by one take a slow disk half a minute.
 */
const blockBytes = 4_096;
const [file = '', count = '1', when] = process.argv.slice(2);
const fd = openSync(file, constants.O_RDWR | constants.O_CREAT | constants.O_DSYNC, 0o600);
let first = Number(count);

/** Every other block: neighbours would become one write. */
const placeOf = (block: number): number => block * 2 * blockBytes;

/** Every round writes something else, so that a late one would be seen. */
function writeBlock(block: number, round: number): void {
  const data = Buffer.alloc(blockBytes, `block ${block} round ${round} `);
  write(fd, data, 0, blockBytes, placeOf(block), (failure) => {
    if (failure !== null) throw failure;
    if (round === 0) {
      first -= 1;
      if (first === 0 && when === undefined) console.log('ready');
    }
    writeBlock(block, round + 1);
  });
}

function allocate(bytes: number): void {
  const plain = openSync(file, constants.O_RDWR);
  writeSync(plain, Buffer.alloc(bytes, 'before '), 0, bytes, 0);
  fsyncSync(plain);
}

if (when === 'at-once') allocate(placeOf(Number(count)));
for (let block = 0; block < Number(count); block += 1) writeBlock(block, 0);
if (when === 'at-once') console.log('ready');
