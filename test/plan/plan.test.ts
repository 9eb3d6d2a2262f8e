import { createHash } from 'node:crypto';
import { test } from 'tap';
import { planText } from '../../src/cli/run/plan.js';
import type { ClusterConfig } from '../../src/config/types.js';
import { allocationKey, configKey, featuresKey } from '../../src/control/keys.js';
import { planApply } from '../../src/plan/plan.js';
import type { Plan } from '../../src/plan/types.js';
import { clusterConfig, World, web, web1, web2, withVolume } from '../control/world.js';

const digest = (text: string) => createHash('sha256').update(text).digest();

function placed(config = clusterConfig()): World {
  const world = new World(config);
  world.write(allocationKey, { macs: {}, seeds: { web: '00'.repeat(16) } });
  world.assign(web1, 'h1');
  world.assign(web2, 'h2');
  world.assign(web, 'h2');
  return world;
}

function planOf(world: World, config: ClusterConfig): Plan {
  const decided = planApply(world.view, config, digest);
  if (decided.kind !== 'plan') throw new Error('undecided');
  return decided.plan;
}

const lines = (plan: Plan, at: string) =>
  plan.operations.filter((one) => one.at === at).map(({ action, object }) => `${action} ${object}`);

test('a file that changes nothing has no operation', (t) => {
  const plan = planOf(placed(), clusterConfig());
  t.match(plan, { changes: false, operations: [], services: [], warnings: [] });
  t.match(planText(plan), /nothing to do/);
  t.end();
});

test('another address changes that NIC alone, and is announced', (t) => {
  const config = clusterConfig();
  const personalities = config.personalities.map((one) =>
    one.name === 'web1'
      ? { ...one, networks: one.networks.map((nic) => ({ ...nic, addresses: ['10.10.0.21/24'] })) }
      : one,
  );
  const plan = planOf(placed(), { ...config, personalities });
  t.same(lines(plan, 'h1'), [
    'remove us-web1/eth0 address 10.10.0.11/24',
    'add us-web1/eth0 address 10.10.0.21/24',
    'change us-web1 announced',
  ]);
  t.same(lines(plan, 'store'), ['put config', 'put alloc']);
  t.same(new Set(plan.operations.map(({ at }) => at)), new Set(['store', 'h1', 'h3']));
  const [first] = plan.operations.filter(({ at }) => at === 'h1');
  t.match(first, { why: 'the file changes networks of web1' });
  t.same(
    lines(plan, 'h3'),
    ['remove us-web1/eth0 address 10.10.0.11/24', 'add us-web1/eth0 address 10.10.0.21/24'],
    'the spare that keeps ready for it',
  );
  t.end();
});

test('a weight moves slots, counted by the dispatcher’s own table', (t) => {
  const config = clusterConfig();
  const services = config.services.map((service) => ({
    ...service,
    members: service.members.map((one) => ({ ...one, weight: one.personality === 'web1' ? 3 : 1 })),
  }));
  const plan = planOf(placed(), { ...config, services });
  t.same(lines(plan, 'h2'), ['change us-svc-web dispatch']);
  const [shift] = plan.services;
  t.match(shift, { service: 'web', change: 'changed', slots: 65_537, liveFlows: null });
  const moved = shift?.slotsMoved ?? 0;
  t.ok(moved >= 16_383 && moved < 22_000, `a quarter at least, little more: ${moved}`);
  t.match(planText(plan), /slots \(\d\d\.\d %\) go to another member/);
  t.end();
});

test('what leaves the file is asked to let go, handed over, and taken down by its owner', (t) => {
  const config = clusterConfig();
  const plan = planOf(placed(), {
    ...config,
    personalities: config.personalities.filter(({ name }) => name === 'web2'),
    services: [],
  });
  t.same(lines(plan, 'h1'), [
    'remove us-web1/link eth0',
    'remove us-web1',
    'remove peer filter 100',
    'remove usn-blue/link carrier',
    'remove usn-blue',
    // Now it is the first spare, and keeps ready for web2.
    'add usn-blue',
    'add usn-blue/link carrier',
    'add peer filter 100',
    'add us-web2',
    'add us-web2/link eth0',
    'add us-web2/eth0 address 10.10.0.12/24',
    'add us-web2/eth0 guard',
  ]);
  t.same(lines(plan, 'store').slice(2), [
    'put assign/personality/web1',
    'put assign/service/web',
    'put assign/personality/web1',
    'put assign/service/web',
  ]);
  t.match(plan.services, [{ service: 'web', change: 'removed' }]);
  t.end();
});

test('a first file places everything on the hosts whose agents wait', (t) => {
  const world = new World();
  world.remove(configKey);
  for (const { name } of clusterConfig().hosts) world.remove(`hosts/${name}`);
  for (const name of ['h1', 'h2', 'h3']) {
    world.write(featuresKey(name), { vlan: false, kernel: '6.1' });
  }
  const plan = planOf(world, clusterConfig());
  t.match(plan.generation, { from: 0, to: 1 });
  t.ok(lines(plan, 'store').includes('put hosts/h3'));
  t.same(plan.warnings, ['h4 has not enrolled: it is left out until its agent runs']);
  const places = plan.operations
    .filter(({ object, state }) => /^us-[^/ ]*$/.test(object) && state.epoch !== 0)
    .map(({ at, object }) => `${at} ${object}`);
  t.same(places, ['h1 us-web1', 'h2 us-web2', 'h3 us-svc-web']);
  t.end();
});

test('what apply refuses, plan refuses', (t) => {
  const hosts = clusterConfig().hosts.slice(1);
  t.match(planApply(placed().view, { ...clusterConfig(), hosts }, digest), { kind: 'refused' });
  t.end();
});

test('what would not work or would hurt is a warning', (t) => {
  const config = clusterConfig();
  const warn = (changed: Partial<ClusterConfig>) =>
    planOf(placed(), { ...config, ...changed }).warnings;
  const networks = config.networks.map((network) => ({ ...network, id: 101 }));
  t.match(warn({ networks }), [/^h1 refuses to change blue while web1 /, /^h2 refuses/]);
  const renamed = (name: string) => (name === 'blue' ? 'azure' : name);
  t.match(
    warn({
      networks: config.networks.map((network) => ({ ...network, name: renamed(network.name) })),
      personalities: config.personalities.map((role) => ({
        ...role,
        networks: role.networks.map((nic) => ({ ...nic, network: renamed(nic.network) })),
      })),
      services: config.services.map((role) => ({ ...role, network: renamed(role.network) })),
    }),
    [/^azure has the vxlan 100 of blue, on which web1, web2, web stand: hosts refuse it /],
  );
  const hosts = config.hosts.map((host) => ({ ...host, pool: 'other' }));
  const [one] = config.personalities;
  if (one === undefined) throw new Error('one is expected');
  const personalities = [...config.personalities, { ...one, name: 'web3', networks: [] }];
  t.match(warn({ hosts, personalities }), [/^personality web3 stays unplaced: no-spare-in-pool/]);
  t.end();
});

test('a reservation that nobody will take over is told, with what clears it', (t) => {
  const free = { ...clusterConfig(), personalities: [] };
  const target = 'iqn.2026-11.test:data';
  const fenced = (fence: 'mask' | 'reservation') =>
    withVolume(free, 'data', 'none', { fence, target });
  const warn = (config: ClusterConfig) =>
    planOf(new World(fenced('reservation')), config).warnings.filter((text) =>
      /reserved/.test(text),
    );
  t.match(warn(fenced('mask')), [/^data may stay reserved .*reservation clear data$/]);
  const where = `clear --portal 10.77.0.1:3260 --target ${target} --lun 1 --yes`;
  t.match(warn(free), [new RegExp(where)]);
  t.same(warn({ ...fenced('reservation'), services: [] }), []);
  t.end();
});
