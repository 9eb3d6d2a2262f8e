import { test } from 'tap';
import { decideHandover } from '../../src/control/handover.js';
import { decideStewardship, placementPatienceMs } from '../../src/control/stewardship.js';
import { clusterConfig, World, web, web1, web2 } from './world.js';

const now = { nowMs: 100, leaderSinceMs: 0, liveness: { lapsed: new Set<string>() } };
const owner = { me: 'h1', nowMs: 50, unixMs: 0, bootId: 'boot', drainStartedMs: 20 };

test('the leader waits for the hosts of the file, then for nobody', (t) => {
  const world = new World();
  world.remove('hosts/h4');
  const early = decideStewardship(world.view, now);
  t.same(early.rewrites, []);
  t.match(early.holds, [{ reason: 'waiting-for-hosts' }]);
  t.equal(early.wakeAtMs, placementPatienceMs);
  const late = decideStewardship(world.view, { ...now, nowMs: placementPatienceMs });
  t.equal(late.rewrites.length, 3);
  t.end();
});

test('the leader waits for first leases as it does for hosts: none gets all for being the first', (t) => {
  const world = new World();
  for (const name of ['h1', 'h2', 'h3', 'h4']) world.tellLease(name, 1, name === 'h2');
  t.match(decideStewardship(world.view, now).holds, [{ reason: 'waiting-for-hosts' }]);
  const back = new World();
  back.tellLease('h4', 1, false);
  for (const role of [web1, web2, web]) back.assign(role, null);
  t.equal(
    decideStewardship(back.view, now).rewrites.length,
    3,
    'what worked before waits for nobody',
  );
  const late = decideStewardship(world.view, { ...now, nowMs: placementPatienceMs });
  t.ok(late.rewrites.length === 3 && late.rewrites.every(({ next }) => next.host === 'h2'));
  for (const name of ['h1', 'h3', 'h4']) world.tellLease(name, 1, true);
  t.match(decideStewardship(world.view, now).rewrites, [
    { next: { host: 'h1' } },
    { next: { host: 'h2' } },
    { next: { host: 'h3' } },
  ]);
  t.end();
});

test('a leader that hears no host places all the same, and rather where nobody doubts', (t) => {
  const world = new World();
  const deaf = (...names: readonly string[]) => ({
    ...now,
    liveness: { lapsed: new Set(names.map((name) => `${name}/1`)) },
  });
  const alone = decideStewardship(world.view, deaf('h1', 'h2', 'h3', 'h4')).rewrites;
  t.equal(alone.length, 3);
  t.match(alone[0]?.reason, /minority of controllers does not hear it/);
  const partly = decideStewardship(world.view, deaf('h1', 'h2', 'h4')).rewrites;
  t.ok(partly.every(({ next }) => next.host === 'h3'));
  t.end();
});

test('each placement of a round sees the load of those before it', (t) => {
  const { rewrites } = decideStewardship(new World().view, now);
  t.same(
    rewrites.map(({ role, next }) => [role.name, next.host]),
    [
      ['web1', 'h1'],
      ['web2', 'h2'],
      ['web', 'h3'],
    ],
    'members apart from each other, the dispatcher apart from both',
  );
  t.end();
});

test('a round places a bounded number of roles; the next one goes on', (t) => {
  const config = clusterConfig();
  const [first] = config.personalities;
  if (first === undefined) throw new Error('one is expected');
  const personalities = Array.from({ length: 50 }, (_, index) => ({ ...first, name: `p${index}` }));
  const world = new World({ ...config, personalities, services: [] });
  const rounds = [];
  for (let round = 0; round < 2; round++) {
    const { rewrites } = decideStewardship(world.view, now);
    rounds.push(rewrites.length);
    for (const { role, next } of rewrites) world.assign(role, next.host);
  }
  t.same(rounds, [32, 18]);
  const perHost = new Map<string, number>();
  for (const { value } of world.view.assignments.values()) {
    perHost.set(value.host ?? '', (perHost.get(value.host ?? '') ?? 0) + 1);
  }
  t.same([...perHost.values()].sort(), [12, 12, 13, 13], 'spread evenly');
  t.end();
});

test('first placement starts at epoch 1; a role that had an owner goes on counting', (t) => {
  const world = new World();
  t.match(decideStewardship(world.view, now).rewrites, [
    { role: web1, assignmentRevision: undefined, next: { host: 'h1', epoch: 1 } },
  ]);
  world.assign(web1, null, { epoch: 7 });
  t.match(decideStewardship(world.view, now).rewrites, [
    { role: web1, next: { host: 'h1', epoch: 8 } },
  ]);
  t.end();
});

test('what left the file is asked to stop in good order', (t) => {
  const config = clusterConfig();
  const world = new World({
    ...config,
    personalities: config.personalities.slice(0, 1),
    services: [],
  });
  world.assign(web1, 'h1');
  world.assign(web2, 'h2');
  t.match(decideStewardship(world.view, now).rewrites, [
    { role: web2, next: { host: 'h2', state: 'draining', to: null } },
  ]);
  t.end();
});

test('an owner that let go hands over to the chosen host under the next epoch', (t) => {
  const world = new World();
  world.assign(web1, 'h1', { state: 'draining', to: 'h3', epoch: 4, cause: 'move' });
  t.match(decideHandover(world.view, web1, owner), {
    next: { host: 'h3', incarnation: 1, epoch: 5, state: 'assigned' },
    record: { id: 'web1-5', cause: 'move', from: 'h1', to: 'h3' },
  });
  t.end();
});

test('an owner hands over to nobody when the chosen host was shut out meanwhile', (t) => {
  const world = new World();
  world.assign(web1, 'h1', { state: 'draining', to: 'h3', epoch: 4 });
  world.retire('h3', 1);
  t.match(decideHandover(world.view, web1, owner), {
    next: { host: null, epoch: 5, state: 'unplaced' },
    record: null,
  });
  t.end();
});

test('an owner hands over to nobody when the chosen host enrolled anew and has no lease yet', (t) => {
  const world = new World();
  world.assign(web1, 'h1', { state: 'draining', to: 'h3', epoch: 4 });
  world.tellLease('h3', 1, true);
  world.enrol('h3', 2);
  t.match(decideHandover(world.view, web1, owner), { next: { host: null, state: 'unplaced' } });
  t.end();
});

test('an owner hands over to nobody when the chosen host left the cluster file', (t) => {
  const config = clusterConfig();
  const world = new World({ ...config, hosts: config.hosts.filter(({ name }) => name !== 'h4') });
  world.enrol('h4', 1);
  world.assign(web1, 'h1', { state: 'draining', to: 'h4', epoch: 4 });
  t.match(decideHandover(world.view, web1, owner), { next: { host: null, state: 'unplaced' } });
  t.end();
});

test('an owner that is not draining hands nothing over', (t) => {
  const world = new World();
  world.assign(web1, 'h1');
  t.equal(decideHandover(world.view, web1, owner), undefined);
  t.end();
});
