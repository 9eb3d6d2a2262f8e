import { test } from 'tap';
import { assignmentKey, eventKey } from '../../src/control/keys.js';
import { ViewKeeper } from '../../src/control/view.js';

const key = assignmentKey('personality', 'web1');
const entry = (epoch: number, modRevision: number) => ({
  key,
  value: JSON.stringify({ host: 'h1', epoch }),
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

test('events are not part of the view', async (t) => {
  const keeper = new ViewKeeper();
  keeper.reset([], 1);
  const event = { key: eventKey(1, 'h1', 0), value: '{}', modRevision: 2 };
  t.equal(keeper.apply([{ kind: 'put', entry: event }]), false);
  t.equal(keeper.apply([{ kind: 'put', entry: { ...event, key: 'office/leader' } }]), false);
  t.equal(keeper.apply([put(1, 3)]), true);
});
