import { closeSync, writeSync } from 'node:fs';
import { setImmediate as turn } from 'node:timers/promises';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { test } from 'tap';
import { errno, libc, SystemCallError } from '../../src/ffi/libc.js';
import { checkedOffThread, type OffThread, offThread } from '../../src/ffi/off-thread.js';
import { eventfd, read } from './eventfd.js';

setFlagsFromString('--expose-gc');
const collect = runInNewContext('gc') as () => void;

test('what another thread writes to is kept until it has', async (t) => {
  const fd = eventfd(0, 0);
  const { weak, called } = readFrom(fd);
  for (let round = 0; round < 3; round++) {
    await turn();
    collect();
  }
  t.ok(weak.deref(), 'nobody else holds the buffer, and it is there');
  const count = Buffer.alloc(8);
  count.writeBigUInt64LE(7n);
  writeSync(fd, count);
  t.equal((await called).result, 8);
  await turn();
  collect();
  t.equal(weak.deref(), undefined, 'then no longer');
  closeSync(fd);
});

/** In a function of its own: no variable of the test’s keeps the buffer. */
function readFrom(fd: number) {
  const buffer = Buffer.alloc(8);
  return { weak: new WeakRef(buffer), called: offThread(read, fd, buffer, 8) };
}

test('a refusal carries the errno of that thread', async (t) => {
  const close = libc.func('int close(int fd)') as unknown as OffThread<[fd: number]>;
  const refused = new SystemCallError('close', errno.EBADF ?? 0);
  await t.rejects(checkedOffThread('close', close, -1), refused);
});
