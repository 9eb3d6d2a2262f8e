import { test } from 'tap';
import { assignmentKey, eventKey, retiredKey } from '../../src/control/keys.js';
import { ViewKeeper } from '../../src/control/view.js';

const key = assignmentKey('personality', 'web1');
const entry = (epoch: number, modRevision: number) => ({
  key,
  value: JSON.stringify({
    host: 'h1',
    incarnation: 1,
    epoch,
    state: 'assigned',
    to: null,
    failover: null,
  }),
  modRevision,
});
const put = (epoch: number, modRevision: number) =>
  ({ kind: 'put', entry: entry(epoch, modRevision) }) as const;

function epochOf(keeper: ViewKeeper): number | undefined {
  return keeper.view.assignments.get('personality/web1')?.value.epoch;
}

test('what a transaction of our own wrote is known before the watch tells it', async (t) => {
  const keeper = new ViewKeeper();
  keeper.reset([entry(1, 5)], 5);
  keeper.learn([entry(3, 8)]);
  t.equal(epochOf(keeper), 3);
  keeper.apply([put(2, 7)]);
  t.equal(epochOf(keeper), 3, 'what the watch still had to say from before changes nothing');
  keeper.apply([put(3, 8), put(4, 9)]);
  t.equal(epochOf(keeper), 4);
});

test('an answer that comes after the watch told of newer things is no news', async (t) => {
  const keeper = new ViewKeeper();
  keeper.reset([], 5);
  keeper.apply([put(3, 8), { kind: 'delete', key, revision: 9 }]);
  keeper.learn([entry(3, 8)]);
  t.equal(epochOf(keeper), undefined);
});

test('a snapshot replaces what was learnt, unless it is older', async (t) => {
  const keeper = new ViewKeeper();
  keeper.reset([entry(1, 5)], 5);
  keeper.learn([entry(3, 8)]);
  keeper.reset([entry(1, 5)], 7);
  t.equal(epochOf(keeper), 3);
  keeper.reset([], 9);
  t.equal(epochOf(keeper), undefined);
});

test('a value that cannot be read changes nothing, and keeps its old revision', async (t) => {
  const keeper = new ViewKeeper();
  keeper.reset([entry(1, 5)], 5);
  const odd = ['null', '7', '[]', '{}', '{"host":"h1","epoch":"2"}', '{', ''];
  for (const [index, value] of odd.entries()) {
    const change = { kind: 'put', entry: { key, value, modRevision: 6 + index } } as const;
    t.equal(keeper.apply([change]).size, 0, value);
  }
  t.equal(epochOf(keeper), 1);
  t.equal(keeper.view.assignments.get('personality/web1')?.revision, 5);
  for (const other of ['config', 'alloc', 'hosts/h1', 'report/h1', 'mask/a', 'votes/h1/1/h2']) {
    keeper.apply([{ kind: 'put', entry: { key: other, value: 'null', modRevision: 99 } }]);
  }
  t.equal(keeper.view.config, undefined);
  t.same([keeper.view.hosts.size, keeper.view.reports.size, keeper.view.votes.size], [0, 0, 0]);
});

test('an incarnation is retired by the mark alone, whatever it holds', async (t) => {
  const keeper = new ViewKeeper();
  const marks = ['{}', 'null', '', '{'].map((value, index) => ({
    key: retiredKey('h1', index + 1),
    value,
    modRevision: 2,
  }));
  keeper.reset(marks, 2);
  t.same([...keeper.view.retired], ['h1/1', 'h1/2', 'h1/3', 'h1/4']);
});

test('events are not part of the view', async (t) => {
  const keeper = new ViewKeeper();
  keeper.reset([], 1);
  const event = { key: eventKey(1, 'h1', 0), value: '{}', modRevision: 2 };
  t.same([...keeper.apply([{ kind: 'put', entry: event }])], []);
  t.same([...keeper.apply([{ kind: 'put', entry: { ...event, key: 'office/leader' } }])], []);
  t.same([...keeper.apply([put(1, 3)])], ['assign']);
});
