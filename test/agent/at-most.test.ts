import { test } from 'tap';
import { atMost } from '../../src/agent/at-most.js';

const turn = () => new Promise((resolve) => setImmediate(resolve));

test('all are done, in order, and never more than so many at once', async (t) => {
  const begun: number[] = [];
  let running = 0;
  let most = 0;
  await atMost(3, [1, 2, 3, 4, 5, 6, 7, 8], async (item) => {
    begun.push(item);
    most = Math.max(most, ++running);
    await turn();
    running--;
  });
  t.same(begun, [1, 2, 3, 4, 5, 6, 7, 8]);
  t.equal(most, 3);
  t.equal(running, 0);
});

test('one that fails keeps no other from its turn, and is told at the end', async (t) => {
  const done: number[] = [];
  const all = atMost(2, [1, 2, 3, 4], async (item) => {
    await turn();
    if (item === 1) throw new Error('no answer in time');
    done.push(item);
  });
  await t.rejects(all, { message: 'no answer in time' });
  t.same(done, [2, 3, 4]);
});
