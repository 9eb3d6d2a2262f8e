import { test } from 'tap';
import { choosePlacement, type Liveness, Survey } from '../../src/control/placement.js';
import { clusterConfig, World, web, web1, web2 } from './world.js';

const config = clusterConfig();
const quiet = { lapsed: new Set<string>() };

test('a personality goes to a spare, not beside another member of its service', (t) => {
  const world = new World();
  world.assign(web1, 'h1');
  t.match(choosePlacement(world.view, config, web2, quiet), { kind: 'place', host: 'h2' });
  t.end();
});

test('a dispatcher leaves spares alone and avoids hosts of its members', (t) => {
  const db = { kind: 'personality', name: 'db' } as const;
  const world = new World();
  world.assign(web1, 'h1');
  world.assign(web2, 'h2');
  world.assign(db, 'h3');
  t.match(choosePlacement(world.view, config, web, quiet), { kind: 'place', host: 'h3' });
  t.end();
});

test('dispatchers of one service that are at work at once are on hosts of their own', (t) => {
  const services = config.services.flatMap((service) =>
    ['web-1', 'web-2'].map((name) => ({ ...service, name, group: 'web' })),
  );
  const several = clusterConfig({ services });
  const world = new World(several);
  const [one, other] = ['web-1', 'web-2'].map((name) => ({ kind: 'service', name }) as const);
  if (one === undefined || other === undefined) throw new Error('there are two');
  world.assign({ kind: 'personality', name: 'db' }, 'h3');
  world.assign(one, 'h3');
  const placement = choosePlacement(world.view, several, other, quiet);
  t.match(placement, { kind: 'place', host: /^h[124]$/ }, 'rather a spare than the same host');
  t.end();
});

for (const [what, spoil] of [
  ['drained', (world: World) => world.drain('h1')],
  ['retired', (world: World) => world.retire('h1', 1)],
  ['suspected by one controller', (world: World) => void world.vote('h1', 1, 'h2')],
] as const) {
  test(`a host that is ${what} gets nothing`, (t) => {
    const world = new World();
    spoil(world);
    t.match(choosePlacement(world.view, config, web1, quiet), { kind: 'place', host: 'h2' });
    t.end();
  });
}

test('a host whose promise this controller saw lapse gets nothing', (t) => {
  const world = new World();
  const placement = choosePlacement(world.view, config, web1, { lapsed: new Set(['h1/1']) });
  t.match(placement, { kind: 'place', host: 'h2' });
  t.end();
});

test('a host that says that it has no agent gets nothing, and keeps what it has', (t) => {
  const world = new World();
  world.assign(web2, 'h4');
  const agentless = new Set(['h1/1']);
  const choose = (avoid: readonly string[] = []) =>
    new Survey(world.view, config, { ...quiet, agentless }).choose(web1, new Set(avoid));
  t.match(choose(), { kind: 'place', host: 'h2' });
  t.match(choose(['h2', 'h3', 'h4']), { kind: 'hold', reason: 'no-agent-in-pool' });
  t.end();
});

test('a vote that stands keeps a host empty, one that was withdrawn does not', (t) => {
  const world = new World();
  world.vote('h1', 1, 'h2');
  world.vote('h4', 1, 'h2', { state: 'withdrawn' });
  const avoid = new Set(['h2', 'h3']);
  const choose = () => choosePlacement(world.view, config, web1, quiet, avoid);
  t.match(choose(), { kind: 'place', host: 'h4' });
  world.vote('h4', 1, 'h2');
  t.match(choose(), { kind: 'hold', reason: 'no-spare-in-pool' });
  t.end();
});

test('what is down goes to a host that a minority does not hear rather than nowhere', (t) => {
  const world = new World();
  for (const lost of ['h2', 'h3']) world.retire(lost, 1);
  world.vote('h1', 1, 'h2');
  const replace = (liveness: Liveness) =>
    new Survey(world.view, config, liveness).replace(web1, 'h3');
  t.match(replace(quiet), { kind: 'place', host: 'h4' });
  const placed = { kind: 'place', host: 'h1', reason: /minority/ };
  t.match(replace({ lapsed: new Set(['h4/1']) }), placed, 'of two, the first by name');
  world.vote('h1', 1, 'h3');
  t.match(replace(quiet), { kind: 'place', host: 'h4' }, 'a majority is final');
  world.retire('h4', 1);
  t.match(replace(quiet), { kind: 'hold', reason: 'no-spare-in-pool' });
  t.end();
});

test('a controller that hears no other keeps nobody from a role, and gets none', (t) => {
  const world = new World();
  for (const name of ['h2', 'h3', 'h4']) world.vote(name, 1, 'h1');
  // As h2 sees it, and as h1 itself does.
  const liveness = { lapsed: new Set(['h2/1', 'h3/1', 'h4/1']) };
  t.match(choosePlacement(world.view, config, web1, quiet), { kind: 'place', host: 'h2' });
  const choice = new Survey(world.view, config, liveness).replace(web1, 'h1');
  t.match(choice, { kind: 'place', host: 'h2' }, 'not itself, under its next incarnation');
  t.end();
});

test('a host that reaches the store but no controller gets nothing, however often it enrols', (t) => {
  const world = new World();
  for (const [name, { value }] of world.view.hosts) world.tellLease(name, value.incarnation, true);
  // h3 and h4 are cut off from the controllers: voted out, enrolled anew, not voted on yet.
  for (const name of ['h3', 'h4']) {
    world.retire(name, 1);
    world.enrol(name, 2);
  }
  world.assign(web1, 'h4');
  world.assign(web2, 'h1');
  const replace = () => new Survey(world.view, config, quiet).replace(web1, 'h4');
  t.match(replace(), { kind: 'place', host: 'h2' }, 'the report of its last life counts no more');
  world.tellLease('h3', 2, false);
  t.match(replace(), { kind: 'place', host: 'h2' });
  world.retire('h2', 1);
  world.retire('h1', 1);
  t.match(
    replace(),
    { kind: 'hold', reason: 'no-lease-in-pool' },
    'nor does it when it is the last',
  );
  world.tellLease('h3', 2, true);
  t.match(replace(), { kind: 'place', host: 'h3' }, 'controllers hear it again');
  t.end();
});

test('a host whose agent does not tell of its lease counts as one that holds it', (t) => {
  const world = new World();
  world.retire('h1', 1);
  world.enrol('h1', 2);
  t.match(choosePlacement(world.view, config, web1, quiet), { kind: 'place', host: 'h1' });
  t.end();
});

test('a host that never enrolled gets nothing, nor does one of another pool', (t) => {
  const world = new World();
  world.remove('hosts/h1');
  const elsewhere = {
    ...config,
    hosts: config.hosts.map((host) => (host.name === 'h2' ? { ...host, pool: null } : host)),
  };
  t.match(choosePlacement(world.view, elsewhere, web1, quiet), { kind: 'place', host: 'h3' });
  t.end();
});

test('when no spare is left the least loaded host carries two, and the reason says so', (t) => {
  const world = new World();
  const roles = ['a', 'b', 'c', 'd'].map((name) => ({ kind: 'personality', name }) as const);
  for (const [index, role] of roles.entries()) world.assign(role, `h${index + 1}`);
  const placement = choosePlacement(world.view, config, web1, quiet);
  t.match(placement, { kind: 'place', reason: /no spare left/ });
  t.end();
});

test('a role that is not in the file is not placed', (t) => {
  const nobody = { kind: 'personality', name: 'nobody' } as const;
  t.match(choosePlacement(new World().view, config, nobody, quiet), { reason: 'unknown-role' });
  t.end();
});
