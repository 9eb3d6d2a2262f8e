import { test } from 'tap';
import type { PowerConfig } from '../../src/config/types.js';
import { decideFailovers, initialFailoverState } from '../../src/control/failover.js';
import { decideFencing, fencingEnded, initialFencing } from '../../src/control/fencing.js';
import { statusOf } from '../../src/control/status.js';
import { clusterConfig, World, web1, web2 } from './world.js';

const power: PowerConfig = {
  agent: 'fence_test',
  options: {},
  passwordFile: null,
  action: 'off',
  timeoutMs: 1_000,
};
const now = {
  me: 'h1',
  leader: true,
  nowMs: 1_000,
  unixMs: 0,
  bootId: 'boot',
  liveness: { lapsed: new Set<string>() },
};

/** One controller, leases not enforced, web1 on h2 and web2 on h3. */
function unenforced(withPower: readonly string[] = []): World {
  const config = clusterConfig();
  const hosts = config.hosts.map((host) =>
    withPower.includes(host.name) ? { ...host, power } : host,
  );
  const world = new World({
    ...config,
    controllers: ['h1'],
    fencing: { enforce: false },
    hosts,
    services: [],
  });
  for (const { name } of hosts) world.enrol(name, 1, false);
  world.assign(web1, 'h2');
  world.assign(web2, 'h3');
  return world;
}

const failovers = (world: World) => decideFailovers(initialFailoverState, world.view, now).verdicts;

test('a lease that nothing enforces proves nothing: the failover waits, and status says for what', (t) => {
  const world = unenforced();
  world.vote('h2', 1, 'h1');
  t.match(failovers(world), [{ kind: 'hold', reason: 'not-proven-silent' }]);
  const config = world.view.config?.value.config ?? clusterConfig();
  const status = statusOf(world.view, config, 'h1', () => new Map());
  t.match(status.personalities[0], { phase: 'failed', reason: /understudy fenced h2 --yes/ });
  t.match(decideFencing(initialFencing, world.view, 0).verdicts, [
    { kind: 'hold', host: 'h2', reason: 'no-power-fencing' },
  ]);
  t.end();
});

for (const [what, prove] of [
  ['somebody says that it is off', (world: World) => world.fence('h2', 1)],
  ['it came back as a new incarnation', (world: World) => world.enrol('h2', 2, false)],
] as const) {
  test(`the failover goes on when ${what}`, (t) => {
    const world = unenforced();
    world.vote('h2', 1, 'h1');
    prove(world);
    t.match(failovers(world), [{ kind: 'fail-over', commit: { next: { host: 'h1' } } }]);
    t.end();
  });
}

test('a word about another incarnation proves nothing', (t) => {
  const world = unenforced();
  world.fence('h2', 1);
  world.enrol('h2', 2, false);
  world.assign(web1, 'h2', { incarnation: 2 });
  world.vote('h2', 2, 'h1');
  t.match(failovers(world), [{ kind: 'hold', reason: 'not-proven-silent' }]);
  t.end();
});

test('an incarnation keeps what it enrolled with, whatever the file says by now', (t) => {
  const world = unenforced();
  const config = world.view.config?.value.config ?? clusterConfig();
  world.write('config', { generation: 2, config: { ...config, fencing: { enforce: true } } });
  world.vote('h2', 1, 'h1');
  t.match(failovers(world), [{ kind: 'hold', reason: 'not-proven-silent' }]);
  t.end();
});

test('a host with power fencing is switched off once, and again only after a pause', (t) => {
  const world = unenforced(['h2']);
  t.same(decideFencing(initialFencing, world.view, 0).verdicts, [], 'nobody is voted out');
  world.vote('h2', 1, 'h1');
  const first = decideFencing(initialFencing, world.view, 0);
  const [order] = first.verdicts;
  if (order?.kind !== 'switch-off') throw new Error('not switched off');
  t.match(order, { host: 'h2', incarnation: 1, power, roles: ['personality/web1'] });
  t.same(decideFencing(first.state, world.view, 10).verdicts, [], 'it is under way');
  const failed = fencingEnded(first.state, order, false, 1_000);
  const waiting = decideFencing(failed, world.view, 1_001);
  t.match(waiting.verdicts, [{ kind: 'hold', reason: 'backing-off' }]);
  t.equal(waiting.wakeAtMs, 3_000);
  t.match(decideFencing(failed, world.view, 3_000).verdicts, [{ kind: 'switch-off' }]);
  const off = fencingEnded(first.state, order, true, 1_000);
  world.fence('h2', 1);
  t.same(decideFencing(off, world.view, 1_001).verdicts, [], 'nothing is left to prove');
  t.end();
});

test('more than half of a pool at once is rather a partition: nobody is switched off', (t) => {
  const world = unenforced(['h2', 'h3', 'h4']);
  world.assign({ kind: 'personality', name: 'db' }, 'h4');
  for (const host of ['h2', 'h3', 'h4']) world.vote(host, 1, 'h1');
  t.match(decideFencing(initialFencing, world.view, 0).verdicts, [
    { kind: 'hold', reason: 'too-many-hosts-at-once' },
    { kind: 'hold', reason: 'too-many-hosts-at-once' },
    { kind: 'hold', reason: 'too-many-hosts-at-once' },
  ]);
  t.end();
});

test('a personality that fells host after host has to wait for the next, longer each time', (t) => {
  const world = unenforced(['h2', 'h3', 'h4']);
  world.vote('h2', 1, 'h1');
  const first = decideFencing(initialFencing, world.view, 0);
  const [order] = first.verdicts;
  if (order?.kind !== 'switch-off') throw new Error('not switched off');
  const state = fencingEnded(first.state, order, true, 0);
  world.fence('h2', 1);
  world.assign(web1, 'h4', { epoch: 2 });
  world.vote('h4', 1, 'h1');
  const second = decideFencing(state, world.view, 5_000);
  t.match(second.verdicts, [{ kind: 'hold', host: 'h4', reason: 'backing-off' }]);
  t.equal(second.wakeAtMs, 60_000);
  t.match(decideFencing(state, world.view, 60_000).verdicts, [{ kind: 'switch-off', host: 'h4' }]);
  t.end();
});

test('after the longest wait the next is as long: none begins anew with the shortest', (t) => {
  const world = unenforced(['h2', 'h3', 'h4']);
  world.vote('h2', 1, 'h1');
  let state = initialFencing;
  let shotAtMs = 0;
  for (const minutes of [0, 1, 2, 4, 8, 16, 32, 64, 64, 64]) {
    const dueMs = shotAtMs + minutes * 60_000;
    if (minutes > 0) {
      const early = decideFencing(state, world.view, dueMs - 1);
      t.match(early.verdicts, [{ kind: 'hold', reason: 'backing-off' }], `after ${minutes} min`);
      state = early.state;
    }
    const due = decideFencing(state, world.view, dueMs);
    const [verdict] = due.verdicts;
    if (verdict?.kind !== 'switch-off') throw new Error(`not switched off after ${minutes} min`);
    state = fencingEnded(due.state, verdict, true, dueMs);
    shotAtMs = dueMs;
  }
  t.end();
});
