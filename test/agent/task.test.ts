import { test } from 'tap';
import { type Log, Loop } from '../../src/agent/loop.js';
import { RoleTask, type RoleWork } from '../../src/agent/task.js';
import { systemTimers } from '../../src/store/timers.js';

const quiet: Log = { debug() {}, info() {}, warn() {}, error() {} };

/** Work that records what it was asked for, and finishes when told. */
class FakeWork implements RoleWork {
  readonly calls: string[] = [];
  fail = false;
  blocking = false;

  async take(epoch: number, _incarnation: number, _failover: string | null, signal: AbortSignal) {
    this.calls.push(`take ${epoch}`);
    if (this.fail) throw new Error('no such device');
    if (!this.blocking) return;
    await new Promise((_resolve, reject) => {
      signal.addEventListener('abort', () => reject(new Error('called off')));
    });
  }

  async prepare() {
    this.calls.push('prepare');
    if (this.fail) throw new Error('no such device');
  }

  async release() {
    this.calls.push('release');
  }

  /** An abort ends when this does. */
  aborting: Promise<void> = Promise.resolve();

  async abort() {
    this.calls.push('abort');
    await this.aborting;
  }

  failHandOver = false;

  async handOver() {
    this.calls.push('hand over');
    if (this.failHandOver) throw new Error('no answer');
  }
}

/** Work that waits for nothing is done by then. */
const turn = () => new Promise<void>((resolve) => setImmediate(resolve));

function setUp() {
  const work = new FakeWork();
  const waiters = new Set<() => void>();
  let gone = 0;
  const task = new RoleTask({ kind: 'personality', name: 'web1' }, work, {
    log: quiet,
    timers: systemTimers(),
    bootMs: () => 0,
    onState: () => {
      for (const waiter of waiters) waiter();
    },
    onGone: () => {
      gone++;
    },
  });
  const until = (condition: () => boolean) =>
    new Promise<void>((resolve) => {
      const look = () => {
        if (!condition()) return;
        waiters.delete(look);
        resolve();
      };
      waiters.add(look);
      look();
    });
  const phase = (wanted: string) => until(() => task.state.phase === wanted);
  return { work, task, phase, gone: () => gone };
}

const hold = (epoch: number) => ({ kind: 'hold', epoch, incarnation: 1, failover: null }) as const;

test('a role is taken, and let go at once when it is somebody else’s', async (t) => {
  const { work, task, phase, gone } = setUp();
  task.set(hold(1));
  await phase('running');
  task.set({ kind: 'none' });
  await phase('unplaced');
  t.same(work.calls, ['take 1', 'abort']);
  t.equal(gone(), 1);
  await task.stop();
});

test('a newer epoch cuts off the old one before it takes', async (t) => {
  const { work, task, phase } = setUp();
  task.set(hold(1));
  await phase('running');
  task.set(hold(3));
  await phase('unplaced');
  await phase('running');
  t.same(work.calls, ['take 1', 'abort', 'take 3']);
  await task.stop();
});

test('a takeover under way is called off when the role moves on', async (t) => {
  const { work, task, phase } = setUp();
  work.blocking = true;
  task.set(hold(1));
  await phase('starting');
  task.set({ kind: 'none' });
  await phase('unplaced');
  t.same(work.calls, ['take 1', 'abort']);
  await task.stop();
});

test('a planned stop releases in good order and then hands over', async (t) => {
  const { work, task, phase } = setUp();
  task.set(hold(1));
  await phase('running');
  task.set({ kind: 'drain', epoch: 1, incarnation: 1 });
  await phase('unplaced');
  await task.stop();
  t.same(work.calls, ['take 1', 'release', 'hand over', 'abort']);
});

test('until it may let go, an owner keeps what stands, and takes nothing', async (t) => {
  const { work, task, phase } = setUp();
  task.set(hold(1));
  await phase('running');
  task.set({ kind: 'stay', epoch: 1, incarnation: 1, move: 7 });
  await turn();
  task.check();
  await turn();
  t.same([work.calls, task.state.phase], [['take 1'], 'running']);
  task.set({ kind: 'drain', epoch: 1, incarnation: 1, move: 7 });
  await phase('unplaced');
  await task.stop();
  t.same(work.calls, ['take 1', 'release', 'hand over', 'abort']);
});

test('an owner that has begun to let go goes on, though others fall silent', async (t) => {
  const { work, task, phase } = setUp();
  task.set(hold(1));
  await phase('running');
  task.set({ kind: 'drain', epoch: 1, incarnation: 1, move: 7 });
  task.set({ kind: 'stay', epoch: 1, incarnation: 1, move: 7 });
  await phase('unplaced');
  await task.stop();
  t.same(work.calls, ['take 1', 'release', 'hand over', 'abort']);
});

test('an owner that has let go takes the role up again only when the move is called off', async (t) => {
  const { work, task, phase } = setUp();
  task.set(hold(1));
  await phase('running');
  work.failHandOver = true;
  task.set({ kind: 'drain', epoch: 1, incarnation: 1, move: 7 });
  await phase('failed');
  task.set({ kind: 'stay', epoch: 1, incarnation: 1, move: 7 });
  await turn();
  t.notOk(work.calls.slice(1).includes('take 1'), 'its hand-over may have been written');
  task.set(hold(1));
  await phase('running');
  await task.stop();
});

test('a host says that it is ready when what may be is', async (t) => {
  const { work, task } = setUp();
  task.set({ kind: 'ready', incarnation: 1 });
  await turn();
  t.equal(task.readyFor, undefined);
  task.set({ kind: 'ready', incarnation: 1, move: 7 });
  t.equal(task.readyFor, undefined);
  await turn();
  t.equal(task.readyFor, 7);
  work.fail = true;
  task.set({ kind: 'ready', incarnation: 1, move: 9 });
  await turn();
  t.equal(task.readyFor, undefined, 'a kernel in trouble is not ready');
  await task.stop();
});

test('news look at a role again only when they change what it is made of', async (t) => {
  const { work, task, phase } = setUp();
  task.set(hold(1), 'one disk');
  await phase('running');
  task.set(hold(1), 'one disk');
  await new Promise((resolve) => setImmediate(resolve));
  t.same(work.calls, ['take 1']);
  task.set(hold(1), 'two disks');
  await new Promise((resolve) => setImmediate(resolve));
  t.same(work.calls, ['take 1', 'take 1'], 'corrected, and nothing let go of');
  task.check();
  await new Promise((resolve) => setImmediate(resolve));
  t.equal(work.calls.length, 3, 'a check looks in any case');
  await task.stop();
});

test('a failed takeover says why and is tried again', async (t) => {
  const { work, task, phase } = setUp();
  work.fail = true;
  task.set(hold(1));
  await phase('failed');
  t.match(task.state.detail, /no such device/);
  work.fail = false;
  await phase('running');
  await task.stop();
});

test('news of other things do not hurry a task that has failed', async (t) => {
  const { work, task, phase } = setUp();
  work.fail = true;
  task.set(hold(1));
  await phase('failed');
  await new Promise((resolve) => setImmediate(resolve));
  for (let index = 0; index < 20; index++) {
    task.set(hold(1), `wish ${index}`);
    await new Promise((resolve) => setImmediate(resolve));
  }
  t.same(work.calls, ['take 1']);
  await task.stop();
});

test('what an earlier agent left is cut off when nobody wants it', async (t) => {
  const { work, task } = setUp();
  task.adopt(4);
  t.ok(task.stands);
  await task.drop();
  t.same(work.calls, ['abort']);
  await task.stop();
});

test('nothing is taken any more once all is let go of', async (t) => {
  const { work, task, phase } = setUp();
  task.set(hold(1));
  await phase('running');
  let finish: () => void = () => undefined;
  work.aborting = new Promise((resolve) => {
    finish = resolve;
  });
  task.set(hold(3));
  await new Promise((resolve) => setImmediate(resolve));
  t.same(work.calls, ['take 1', 'abort']);
  const dropped = task.drop();
  finish();
  await dropped;
  await task.stop();
  t.same(work.calls, ['take 1', 'abort'], 'epoch 3 is not begun behind the back of who dropped it');
});

test('an agent can stop while something cannot be let go of', async (t) => {
  const { work, task, phase } = setUp();
  work.aborting = Promise.reject(new Error('its disk process cannot be ended'));
  task.adopt(1);
  const dropped = t.rejects(task.drop(), { message: /the agent stops/ });
  await phase('failed');
  await task.stop();
  await dropped;
});

test('a loop runs once more for any number of triggers during a run', async (t) => {
  let runs = 0;
  let finish: () => void = () => undefined;
  const loop = new Loop('test', { log: quiet, timers: systemTimers() }, () => {
    runs++;
    return new Promise<void>((resolve) => {
      finish = resolve;
    });
  });
  loop.trigger();
  loop.trigger();
  loop.trigger();
  finish();
  await new Promise((resolve) => setImmediate(resolve));
  t.equal(runs, 2);
  finish();
  await loop.stop();
  loop.trigger();
  t.equal(runs, 2, 'a stopped loop stays stopped');
});

test('what was prepared is taken as it is, and let go of when it is not needed', async (t) => {
  const { work, task, phase } = setUp();
  task.set({ kind: 'ready', incarnation: 1 });
  await turn();
  t.equal(task.stands, true, 'its network is in use');
  t.equal(task.state.phase, 'unplaced', 'nobody is told of it');
  task.set({ kind: 'hold', epoch: 2, incarnation: 1, failover: null });
  await phase('running');
  t.same(work.calls, ['prepare', 'take 2'], 'nothing is taken down in between');
  task.set({ kind: 'ready', incarnation: 1 });
  await turn();
  t.same(work.calls.slice(2), ['abort', 'prepare'], 'what an epoch held goes first');
  task.set({ kind: 'none' });
  await turn();
  t.equal(task.stands, false);
  t.equal(work.calls.at(-1), 'abort');
});

test('a preparation that fails makes nothing fail', async (t) => {
  const { work, task, phase } = setUp();
  work.fail = true;
  task.set({ kind: 'ready', incarnation: 1 });
  await turn();
  t.equal(task.state.phase, 'unplaced');
  work.fail = false;
  task.set({ kind: 'hold', epoch: 2, incarnation: 1, failover: null });
  await phase('running');
});

test('a role is carried from when it runs until letting go of it begins', async (t) => {
  const { work, task, phase } = setUp();
  work.blocking = true;
  task.set(hold(3));
  await phase('starting');
  t.equal(task.carried, undefined, 'on its way');
  work.blocking = false;
  task.set(hold(4));
  await phase('running');
  t.same(task.carried, { epoch: 4, found: false });
  let end: () => void = () => undefined;
  work.aborting = new Promise<void>((resolve) => {
    end = resolve;
  });
  task.set({ kind: 'none' });
  await turn();
  t.equal(task.carried, undefined, 'its end has begun');
  end();
  await phase('unplaced');
});

test('what an agent before this one left counts as found until it was looked after', async (t) => {
  const { task, phase } = setUp();
  task.adopt(3);
  t.same(task.carried, { epoch: 3, found: true });
  task.set(hold(3));
  await phase('running');
  t.same(task.carried, { epoch: 3, found: false });
});
