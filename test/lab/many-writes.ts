import { constants, openSync, write } from 'node:fs';

/**
 * Keeps so many synchronous writes of a file under way, each in a thread of its own
 * (UV_THREADPOOL_SIZE), each to a block of its own. Says `ready` once every block was written.
 *
 * Arguments: the file, how many.
 */
const blockBytes = 4_096;
const [file = '', count = '1'] = process.argv.slice(2);
const fd = openSync(file, constants.O_RDWR | constants.O_CREAT | constants.O_DSYNC, 0o600);
let first = Number(count);

/** Every round writes something else, so that a late one would be seen. */
function writeBlock(block: number, round: number): void {
  const data = Buffer.alloc(blockBytes, `block ${block} round ${round} `);
  // Every other block: neighbours would become one write.
  write(fd, data, 0, blockBytes, block * 2 * blockBytes, (failure) => {
    if (failure !== null) throw failure;
    if (round === 0) {
      first -= 1;
      if (first === 0) console.log('ready');
    }
    writeBlock(block, round + 1);
  });
}

for (let block = 0; block < Number(count); block += 1) writeBlock(block, 0);
