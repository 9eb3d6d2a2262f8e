import koffi from 'koffi';
import { test } from 'tap';
import { taskLayout, toldByBytes } from '../../src/ffi/iscsi-task.js';
import { libiscsi } from '../../src/ffi/libiscsi.js';

const written = 0x1122334455667788n;

function taskWith(at: number): Buffer {
  const task = Buffer.alloc(toldByBytes);
  if (at >= 0) task.writeBigUInt64LE(written, at);
  return task;
}

test('both forms of a task are told apart, and no other is taken for one', (t) => {
  const dataAt = (at: number) => koffi.offsetof(taskLayout(taskWith(at), written), 'datain_size');
  t.equal(dataAt(88), 64, 'libiscsi 1.19');
  t.equal(dataAt(96), 72, 'libiscsi 1.20: eight bytes of sense data more');
  for (const at of [-1, 80, 92]) t.throws(() => dataAt(at), /unknown version/, String(at));
  t.end();
});

test('the libiscsi that is installed has one of them', (t) => {
  t.doesNotThrow(() => libiscsi());
  t.end();
});
