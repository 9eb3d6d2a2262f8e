import { test } from 'tap';
import { mostUnderWay } from '../../src/control/drains.js';
import { firstRestMs, type LeavingState, leaveFailing } from '../../src/control/failing.js';
import { drainedKey, reportKey } from '../../src/control/keys.js';
import { noMoves } from '../../src/control/moving.js';
import { draining, type Rewrite } from '../../src/control/rewrites.js';
import { statusOf } from '../../src/control/status.js';
import type { Role } from '../../src/control/view.js';
import { clusterConfig, World, web1 } from './world.js';

function config(moveAfterFailures?: number) {
  const base = clusterConfig();
  const personalities = base.personalities.map((one) =>
    one.name === 'web1' && moveAfterFailures !== undefined ? { ...one, moveAfterFailures } : one,
  );
  return { ...base, personalities };
}

/** web1 is on h1, epoch 4, and its workload has ended so often. */
function failing(count: number, moveAfterFailures?: number) {
  const world = new World(config(moveAfterFailures));
  world.assign(web1, 'h1', { epoch: 4 });
  const report = (host: string, epoch: number, times: number) =>
    world.write(reportKey(host), {
      incarnation: 1,
      services: [],
      health: [],
      personalities: [
        {
          ...{ name: 'web1', epoch, phase: 'running', detail: '', volumes: [] },
          ...(times === 0 ? {} : { failures: { count: times, last: 'exit code 1' } }),
        },
      ],
    });
  report('h1', 4, count);
  let state: LeavingState = new Map();
  const at = (nowMs: number, moves = noMoves, others: readonly Rewrite[] = []) => {
    const decided = leaveFailing(
      state,
      world.view,
      { nowMs, liveness: { lapsed: new Set() } },
      moves,
      others,
    );
    state = decided.state;
    return decided;
  };
  return { world, report, at };
}

test('a workload that fails stays where it is unless its file says otherwise', (t) => {
  t.same(failing(50).at(0).rewrites, []);
  t.same(failing(2, 3).at(0).rewrites, [], 'not yet');
  t.end();
});

test('with moveAfterFailures its personality moves to another host, and says why', (t) => {
  const { at } = failing(3, 3);
  const [rewrite, ...others] = at(0).rewrites;
  t.same(others, []);
  t.match(rewrite, {
    role: web1,
    reason: 'its workload failed 3 times in a row (exit code 1) on h1',
    next: { host: 'h1', state: 'draining', cause: 'move', epoch: 4 },
  });
  t.not(rewrite?.next.to, 'h1');
  t.end();
});

test('what an older epoch or incarnation reported does not count', (t) => {
  const { world, at } = failing(3, 3);
  world.assign(web1, 'h1', { epoch: 5 });
  t.same(at(0).rewrites, []);
  world.assign(web1, 'h1', { epoch: 4, incarnation: 2 });
  t.same(at(0).rewrites, []);
  t.end();
});

test('where nobody can take it, it stays and that is told', (t) => {
  const { world, at } = failing(3, 3);
  for (const host of ['h2', 'h3', 'h4']) world.write(drainedKey(host), {});
  const { rewrites, holds } = at(0);
  t.same(rewrites, []);
  t.match(holds, [{ role: web1, reason: /^its workload fails, and it stays: / }]);
  t.end();
});

test('a workload that fails everywhere moves ever more rarely', (t) => {
  const { world, report, at } = failing(3, 3);
  let host = 'h1';
  let epoch = 4;
  const moved: number[] = [];
  for (let nowMs = 0; nowMs <= 16 * firstRestMs; nowMs += firstRestMs / 4) {
    const to = at(nowMs).rewrites[0]?.next.to;
    if (to === undefined || to === null) continue;
    moved.push(nowMs / firstRestMs);
    host = to;
    epoch += 1;
    world.assign(web1, host, { epoch });
    report(host, epoch, 3);
  }
  t.same(moved, [0, 1, 3, 7, 15], 'the time between doubles');
  t.end();
});

test('a rest is waited for, and forgotten when it has been well for as long', (t) => {
  const { world, report, at } = failing(3, 3);
  t.equal(at(0).rewrites.length, 1);
  t.match(at(1_000), { rewrites: [], wakeAtMs: firstRestMs });
  report('h1', 4, 0);
  t.match(at(2 * firstRestMs), { rewrites: [], wakeAtMs: undefined });
  world.assign(web1, 'h1', { epoch: 6 });
  report('h1', 6, 3);
  t.equal(at(2 * firstRestMs).rewrites.length, 1);
  t.equal(at(3 * firstRestMs).rewrites.length, 1, 'the rest begins with the first again');
  t.end();
});

test('a move that was called off is not asked for again at once', (t) => {
  const { at } = failing(3, 3);
  const restingRoles = new Map([['personality/web1', 30_000]]);
  t.same(at(0, { ...noMoves, restingRoles }).rewrites, []);
  t.end();
});

const named = (name: string): Role => ({ kind: 'personality', name });

/** What all of them need is away, say: each has a host of its own, and fails there. One host is spare. */
function manyFailing(names: readonly string[], capacity: number | null) {
  const base = clusterConfig();
  const [host, personality] = [base.hosts[0], base.personalities[0]];
  if (host === undefined || personality === undefined) throw new Error('no example');
  const hosts = [...names, 'spare'].map((name) => ({ ...host, name: `on-${name}`, capacity }));
  const personalities = names.map((name) => ({ ...personality, name, moveAfterFailures: 3 }));
  const world = new World({ ...base, hosts, personalities, services: [] });
  for (const name of names) {
    world.assign(named(name), `on-${name}`, { epoch: 4 });
    const failures = { count: 3, last: 'exit code 1' };
    const report = { name, epoch: 4, phase: 'running', detail: '', volumes: [], failures };
    const rest = { incarnation: 1, services: [], health: [] };
    world.write(reportKey(`on-${name}`), { ...rest, personalities: [report] });
  }
  const drain = (name: string) => draining(world.view, named(name), 'on-spare', 'drain', 'drained');
  const leaving = (others: readonly Rewrite[] = []) => {
    const now = { nowMs: 0, liveness: { lapsed: new Set<string>() } };
    const { rewrites } = leaveFailing(new Map(), world.view, now, noMoves, others);
    return rewrites.map(({ role, next }) => `${role.name} ${next.to}`);
  };
  return { world, drain, leaving };
}

test('of many that fail at once a few are on their way at a time', (t) => {
  const { world, drain, leaving } = manyFailing(['a', 'b', 'c', 'd', 'e', 'f'], null);
  t.equal(leaving().length, mostUnderWay);
  const others = leaving(drain('a'));
  t.equal(others.length, mostUnderWay - 1, 'with what a drain moves now');
  t.notOk(others.some((one) => one.startsWith('a ')));
  for (const name of ['a', 'b', 'c'])
    world.assign(named(name), `on-${name}`, { epoch: 4, state: 'draining', to: 'on-spare' });
  t.equal(leaving().length, 1, 'and what is under way already');
  t.end();
});

test('a host that gets another one in the same round has no room', (t) => {
  const { drain, leaving } = manyFailing(['a', 'b'], 1);
  t.same(leaving(), ['a on-spare']);
  t.same(leaving(drain('b')), []);
  t.end();
});

test('status says that a workload fails, whether it is to move or not', (t) => {
  const { world } = failing(2);
  const status = statusOf(world.view, config(), 'h1', () => new Map());
  t.match(status.personalities[0], {
    phase: 'running',
    reason: 'its workload failed, 2 in a row: exit code 1',
    failures: { count: 2, last: 'exit code 1' },
  });
  t.equal(status.personalities[1]?.failures, null);
  t.end();
});
