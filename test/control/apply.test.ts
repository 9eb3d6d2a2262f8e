import { createHash } from 'node:crypto';
import { test } from 'tap';
import { decideApply } from '../../src/control/apply.js';
import { allocationKey, configKey, featuresKey } from '../../src/control/keys.js';
import { clusterConfig, World, web1, withVolume } from './world.js';

const digest = (text: string) => createHash('sha256').update(text).digest();
const zeroes = (bytes: number) => '00'.repeat(bytes);
const decide = (world: World, config = clusterConfig()) =>
  decideApply(world.view, config, digest, zeroes);

function auto() {
  return clusterConfig({
    networks: clusterConfig().networks.map((network) => ({ ...network, fabric: 'auto' as const })),
  });
}

test('a first definition is generation 1; the same again changes nothing', (t) => {
  const world = new World();
  world.remove(configKey);
  const first = decide(world);
  if (first.kind !== 'apply') throw new Error('nothing to apply');
  t.match(first.application, { config: { generation: 1 }, configRevision: undefined });
  world.write(configKey, first.application.config);
  world.write(allocationKey, first.application.allocation);
  t.same(decide(world), { kind: 'unchanged' });
  t.match(decide(world, clusterConfig({ services: [] })), {
    kind: 'apply',
    application: { config: { generation: 2 } },
  });
  t.end();
});

test('auto becomes vlan only where every kernel has 8021q, and stays what it became', (t) => {
  const world = new World(auto());
  world.remove(configKey);
  t.same(decide(world, auto()), {
    kind: 'undecided',
    network: 'blue',
    hosts: ['h1', 'h2', 'h3', 'h4'],
  });
  for (const host of ['h1', 'h2', 'h3', 'h4']) {
    world.write(featuresKey(host), { vlan: host !== 'h4', kernel: '6.1' });
  }
  const networks = (fabric: string) => ({
    application: { config: { config: { networks: [{ fabric }] } } },
  });
  t.match(decide(world, auto()), networks('vxlan'));
  world.write(featuresKey('h4'), { vlan: true, kernel: '6.1' });
  const decided = decide(world, auto());
  t.match(decided, networks('vlan'));
  if (decided.kind === 'apply') world.write(configKey, decided.application.config);
  world.write(featuresKey('h4'), { vlan: false, kernel: '6.1' });
  t.match(decide(world, { ...auto(), services: [] }), networks('vlan'));
  t.end();
});

test('a host stays in the definition while it holds a role', (t) => {
  const world = new World();
  world.assign(web1, 'h4');
  const without = clusterConfig({ hosts: clusterConfig().hosts.slice(0, 3) });
  t.match(decide(world, without), { kind: 'refused', cause: /h4, which holds personality web1/ });
  world.assign(web1, 'h1', { epoch: 2 });
  t.match(decide(world, without), { kind: 'apply' });
  t.end();
});

test('a volume keeps its fence while somebody has it', (t) => {
  const other = { name: 'other', target: 'iqn.2026-11.test:other' };
  const fenced = (fence: 'mask' | 'reservation', name = 'data') =>
    withVolume(withVolume(clusterConfig(), 'other', 'web2', other), name, 'web1', {
      ...{ fence, target: 'iqn.2026-11.test:data' },
    });
  for (const [from, to] of [
    ['mask', 'reservation'],
    ['reservation', 'mask'],
  ] as const) {
    const world = new World(fenced(from));
    t.match(decide(world, fenced(to)), { kind: 'apply' }, 'nobody has it');
    world.assign(web1, 'h4', { epoch: 3 });
    const cause = `volumes[1].fence: data goes from ${from} to ${to}, and web1 has it on h4, epoch 3`;
    const refused = { kind: 'refused', code: 'US_APPLY_REFUSED', cause };
    t.match(decide(world, fenced(to)), refused);
    t.match(decide(world, fenced(to, 'renamed')), { kind: 'refused', cause: /renamed goes from/ });
    const unused = { ...fenced(to), personalities: clusterConfig().personalities };
    t.match(decide(world, unused), { kind: 'refused' }, 'not even together with taking it away');
    t.match(decide(world, { ...fenced(from), services: [] }), { kind: 'apply' });
  }
  t.match(decide(new World(fenced('reservation')), fenced('mask')), { kind: 'apply' });
  t.end();
});

test('a volume of a definition from before fences were named has the mask', (t) => {
  const { volumes, ...rest } = withVolume(clusterConfig(), 'data', 'web1');
  const world = new World({
    ...rest,
    volumes: volumes.map((volume) => ({ ...volume, fence: undefined })),
  });
  world.assign(web1, 'h4');
  t.match(decide(world, { ...rest, volumes }), { kind: 'apply' });
  t.end();
});
