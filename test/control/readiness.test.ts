import { test } from 'tap';
import { choosePlacement } from '../../src/control/placement.js';
import { mostKeptReady, rolesToKeepReady } from '../../src/control/readiness.js';
import { clusterConfig, World, web, web1, web2 } from './world.js';

function ready(world: World, config = clusterConfig()): Record<string, readonly string[]> {
  return Object.fromEntries(
    config.hosts.map(({ name }) => [name, rolesToKeepReady(world.view, config, name)]),
  );
}

test('the spare that placement would choose keeps ready, and nobody else', async (t) => {
  const world = new World();
  world.assign(web1, 'h1');
  world.assign(web2, 'h2');
  const both = ['personality/web1', 'personality/web2'];
  t.same(ready(world), { h1: [], h2: [], h3: both, h4: [] });
  const config = clusterConfig();
  const choice = choosePlacement(world.view, config, web1, { lapsed: new Set() }, new Set(['h1']));
  t.match(choice, { kind: 'place', host: 'h3' });

  world.assign(web, 'h3');
  t.same(ready(world), { h1: [], h2: [], h3: [], h4: both }, 'the one that dispatches less');
});

test('a host that nothing would be placed on keeps nothing ready', async (t) => {
  const world = new World();
  world.assign(web1, 'h1');
  world.assign(web2, 'h2');
  world.drain('h3');
  t.same(ready(world).h4, ['personality/web1', 'personality/web2']);
  world.retire('h4', 1);
  t.same(ready(world), { h1: [], h2: [], h3: [], h4: [] });
});

test('a host that has not held its lease keeps nothing ready', async (t) => {
  const world = new World();
  world.assign(web1, 'h1');
  world.assign(web2, 'h2');
  world.tellLease('h3', 1, false);
  t.same(ready(world).h3, []);
  t.same(ready(world).h4, ['personality/web1', 'personality/web2']);
});

test('what is nowhere yet, or on its way here, is not kept ready', async (t) => {
  const world = new World();
  world.assign(web1, null);
  world.assign(web2, 'h2', { state: 'draining', to: 'h3' });
  t.same(ready(world), { h1: ['personality/web2'], h2: [], h3: [], h4: [] });
});

test('only so many are kept ready, the most important first', async (t) => {
  const config = clusterConfig();
  const one = config.personalities[0];
  if (one === undefined) throw new Error('no personality');
  const many = Array.from({ length: 40 }, (_, index) => ({
    ...one,
    name: `p${index}`,
    priority: index,
  }));
  const large = { ...config, personalities: many };
  const world = new World(large);
  for (const { name } of many) world.assign({ kind: 'personality', name }, 'h1');
  const names = ready(world, large).h2 ?? [];
  t.equal(names.length, mostKeptReady);
  t.equal(names[0], 'personality/p39');
});
