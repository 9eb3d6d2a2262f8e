import { test } from 'tap';
import { mostUnderWay, type Stuck, type Told, tellStuck } from '../../src/control/drains.js';
import { drainedKey, reportKey } from '../../src/control/keys.js';
import { noMoves } from '../../src/control/moving.js';
import { statusOf } from '../../src/control/status.js';
import { decideStewardship } from '../../src/control/stewardship.js';
import type { Role } from '../../src/control/view.js';
import { clusterConfig, World, web, web1, web2 } from './world.js';

const now = { nowMs: 100, leaderSinceMs: 0, liveness: { lapsed: new Set<string>() } };
const missing = (...names: readonly string[]) => ({
  ...now,
  liveness: { lapsed: new Set(names.map((name) => `${name}/1`)) },
});

test('a drained host is emptied one role at a time', (t) => {
  const world = new World();
  world.assign(web1, 'h1');
  world.assign(web2, 'h2');
  world.assign(web, 'h1');
  world.drain('h1');
  t.match(decideStewardship(world.view, now).rewrites, [
    { role: web1, next: { host: 'h1', state: 'draining', to: 'h3', cause: 'drain' } },
  ]);
  world.assign(web1, 'h1', { state: 'draining', to: 'h3' });
  t.same(decideStewardship(world.view, now).rewrites, []);
  t.end();
});

test('drained hosts do not wait for one another', (t) => {
  const world = new World();
  world.assign(web1, 'h1');
  world.assign(web, 'h1');
  world.assign(web2, 'h2');
  for (const host of ['h1', 'h2']) world.drain(host);
  t.same(
    decideStewardship(world.view, now).rewrites.map(({ role, next }) => [role, next.to]),
    [
      [web1, 'h3'],
      [web2, 'h4'],
    ],
    'and each choice sees those before it',
  );
  world.assign(web1, 'h1', { state: 'draining', to: 'h3' });
  t.match(decideStewardship(world.view, now).rewrites, [{ role: web2, next: { to: 'h4' } }]);
  t.equal(decideStewardship(world.view, now).rewrites.length, 1, 'h1 lets go of one already');
  t.end();
});

test('a drain sees what is placed in the same round', (t) => {
  const base = clusterConfig();
  const hosts = base.hosts.slice(0, 3).map((host) => ({ ...host, capacity: 1 }));
  const world = new World({ ...base, hosts, services: [] });
  world.assign(web1, 'h1');
  for (const host of ['h1', 'h3']) world.drain(host);
  t.match(decideStewardship(world.view, now).rewrites, [
    { role: web2, next: { host: 'h2', state: 'assigned' } },
  ]);
  t.equal(decideStewardship(world.view, now).rewrites.length, 1, 'h2 has room for no other');
  t.end();
});

test('so many roles are under way at once, whoever asked for it', (t) => {
  const base = clusterConfig();
  const [host, personality] = [base.hosts[0], base.personalities[0]];
  if (host === undefined || personality === undefined) throw new Error('both are expected');
  const names = Array.from({ length: 8 }, (_, index) => `h${index + 1}`);
  const roles = names.map((name): Role => ({ kind: 'personality', name: `on-${name}` }));
  const world = new World({
    ...base,
    hosts: [...names, 'spare'].map((name) => ({ ...host, name })),
    personalities: roles.map(({ name }) => ({ ...personality, name })),
    services: [],
  });
  for (const [index, role] of roles.entries()) world.assign(role, names[index] ?? '');
  for (const name of names.slice(0, 7)) world.drain(name);
  t.equal(decideStewardship(world.view, now).rewrites.length, mostUnderWay);
  world.assign({ kind: 'personality', name: 'on-h8' }, 'h8', { state: 'draining', to: 'spare' });
  t.equal(decideStewardship(world.view, now).rewrites.length, mostUnderWay - 1);
  t.end();
});

test('a drain that cannot go on says why', (t) => {
  const world = new World();
  world.assign(web1, 'h1');
  world.assign(web2, 'h2');
  world.assign(web, 'h2');
  for (const name of ['h1', 'h3', 'h4']) world.drain(name);
  world.retire('h2', 1);
  const { rewrites, stuck } = decideStewardship(world.view, now);
  t.same(rewrites, []);
  t.same(stuck, [{ role: web1, host: 'h1', reason: 'no-spare-in-pool' }]);
  const running = { name: 'web1', epoch: 1, phase: 'running', detail: '', volumes: [] };
  const rest = { services: [], health: [] };
  world.write(reportKey('h1'), { incarnation: 1, personalities: [running], ...rest });
  const { personalities } = statusOf(world.view, clusterConfig(), 'h1', () => new Map());
  t.match(personalities[0], {
    phase: 'running',
    reason: 'stays on h1, which is drained: no-spare-in-pool',
  });
  world.enrol('h2', 2);
  t.same(decideStewardship(world.view, now).stuck, []);
  const told = () => statusOf(world.view, clusterConfig(), 'h1', () => new Map()).personalities[0];
  t.match(told(), { reason: 'h1 is drained: it moves when its turn comes' });
  world.assign(web1, 'h1', { reason: 'not moved to h2: h2 does not say that it is ready' });
  t.match(told(), { reason: 'not moved to h2: h2 does not say that it is ready' });
  t.end();
});

test('that a drain cannot go on is told once, and again when it begins anew', (t) => {
  const world = new World();
  world.assign(web1, 'h1');
  let told: Told = new Map();
  const tell = (...reasons: readonly Stuck['reason'][]) => {
    const stuck = reasons.map((reason) => ({ role: web1, host: 'h1', reason }));
    const next = tellStuck(told, world.view, stuck);
    told = next.told;
    return next.news.map(({ reason }) => reason);
  };
  world.drain('h1');
  t.same(tell('no-spare-in-pool'), ['no-spare-in-pool']);
  t.same(tell('no-spare-in-pool'), []);
  t.same(tell(), [], 'a spare that comes and goes');
  t.same(tell('no-spare-in-pool'), [], 'makes no storm of events');
  t.same(tell('no-room-in-pool'), ['no-room-in-pool']);
  world.remove(drainedKey('h1'));
  t.same(tell(), []);
  world.drain('h1');
  t.same(tell('no-room-in-pool'), ['no-room-in-pool']);
  t.end();
});

test('a drain that waits until a move may be tried again is not one that cannot go on', (t) => {
  const world = new World();
  world.assign(web1, 'h1');
  world.assign(web2, 'h2');
  world.assign(web, 'h2');
  for (const name of ['h1', 'h4']) world.drain(name);
  world.retire('h2', 1);
  const resting = { ...noMoves, restingHosts: new Map([['h3', 5_000]]) };
  const { rewrites, stuck } = decideStewardship(world.view, now, resting);
  t.same([rewrites, stuck], [[], []]);
  t.end();
});

test('a leader that hears no other host empties a drained one all the same', (t) => {
  const world = new World();
  world.assign(web1, 'h2');
  world.assign(web2, 'h3');
  world.assign(web, 'h3');
  world.drain('h2');
  t.match(decideStewardship(world.view, missing('h2', 'h3', 'h4')).rewrites, [
    { role: web1, next: { to: 'h1' } },
  ]);
  world.drain('h1');
  t.match(decideStewardship(world.view, missing('h2', 'h3', 'h4')).rewrites, [
    { role: web1, next: { to: 'h4' } },
  ]);
  t.same(
    decideStewardship(world.view, missing('h3', 'h4')).rewrites,
    [],
    'what it misses of some it knows',
  );
  t.end();
});
