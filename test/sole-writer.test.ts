import { test } from 'tap';
import { SoleWriter } from '../src/sole-writer.js';
import { MemoryBackend, MemoryStore } from '../src/store/memory.js';
import type { Store, Transaction } from '../src/store/types.js';

const put = (value: string) => ({ kind: 'put', key: 'report/h1', value }) as const;

/** A store whose member freezes with a request in its hands, and carries it out when it thaws. */
function freezing() {
  const store = new MemoryStore(new MemoryBackend());
  const held: Transaction[] = [];
  let frozen = false;
  const handle: Pick<Store, 'transact'> = {
    transact(transaction, options) {
      if (!frozen) return store.transact(transaction, options);
      held.push(transaction);
      return Promise.reject(new Error('no answer in time'));
    },
  };
  return {
    store,
    handle,
    freeze: () => {
      frozen = true;
    },
    moveOn: () => {
      frozen = false;
    },
    thaw: () => Promise.all(held.map((transaction) => store.transact(transaction))),
  };
}

test('a write that timed out and lands late does not undo a later one', async (t) => {
  for (const before of ['nothing', 'something']) {
    const { store, handle, freeze, moveOn, thaw } = freezing();
    const writer = new SoleWriter(handle);
    if (before === 'something') await writer.write(put('up'));
    freeze();
    await t.rejects(writer.write(put('down')));
    moveOn();
    await writer.write(put('up again'));
    await thaw();
    t.equal((await store.get('report/h1'))?.value, 'up again', `${before} was there before`);
  }
});

test('what an earlier process left is written over', async (t) => {
  const { store, handle } = freezing();
  await store.transact({ compare: [], write: [put('of the process before')] });
  const writer = new SoleWriter(handle);
  await writer.write(put('mine'));
  t.equal((await store.get('report/h1'))?.value, 'mine');
  await writer.write({ kind: 'delete', key: 'report/h1' });
  t.equal(await store.get('report/h1'), undefined);
  await writer.write(put('back'));
  t.equal((await store.get('report/h1'))?.value, 'back');
});

test('a write that was carried out although its answer was lost is not repeated for ever', async (t) => {
  const { store, handle, freeze, moveOn, thaw } = freezing();
  const writer = new SoleWriter(handle);
  freeze();
  await t.rejects(writer.write(put('once')));
  await thaw();
  moveOn();
  const { modRevision } = (await store.get('report/h1')) ?? {};
  await writer.write(put('once'));
  t.equal((await store.get('report/h1'))?.modRevision, modRevision, 'it stands: nothing to write');
});
