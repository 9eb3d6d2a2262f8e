import { createHash } from 'node:crypto';
import fc from 'fast-check';
import { test } from 'tap';
import { peerSpec } from '../../src/agent/specs.js';
import type { ClusterConfig, PersonalityConfig } from '../../src/config/types.js';
import { decideApply } from '../../src/control/apply.js';
import { configKey } from '../../src/control/keys.js';
import { configOf, type View } from '../../src/control/view.js';
import { planForwarding } from '../../src/network/forwarding-plan.js';
import { type Difference, difference, type Fact } from '../../src/plan/facts.js';
import { applied, settle } from '../../src/plan/foresee.js';
import { hostFacts, maskFacts } from '../../src/plan/host-facts.js';
import { planApply } from '../../src/plan/plan.js';
import { clusterConfig, World } from '../control/world.js';

const digest = (text: string) => createHash('sha256').update(text).digest();
const zeroes = (bytes: number) => '00'.repeat(bytes);

/** Small alphabets, so that two drawn files often agree in part. */
const address = fc.integer({ min: 11, max: 14 });
const networks: fc.Arbitrary<string[]> = fc.constantFrom(
  ['blue'],
  ['green'],
  ['blue', 'green'],
  ['green', 'blue'],
);

const personality = (name: string) =>
  fc
    .record({
      networks,
      address,
      ipv6: fc.boolean(),
      route: fc.boolean(),
      volume: fc.boolean(),
      command: fc.constantFrom('a', 'b', ''),
      mac: fc.constantFrom('', '02:00:00:00:07:07'),
    })
    .map((drawn): PersonalityConfig => {
      const number = Number(name.slice(1));
      return {
        name,
        networks: drawn.networks.map((network, index) => ({
          network,
          addresses: [
            `10.${network === 'blue' ? 10 : 20}.${number}.${drawn.address}/16`,
            ...(drawn.ipv6 ? [`fd00:${network === 'blue' ? 10 : 20}::${number}/64`] : []),
          ],
          mac: index === 0 && name === 'p1' ? drawn.mac : '',
        })),
        routes:
          drawn.route && drawn.networks.includes('blue')
            ? [{ to: '0.0.0.0/0', via: '10.10.0.1' }]
            : [],
        storage: drawn.volume ? [{ lun: 0, volume: `${name}-data`, mount: '/srv' }] : [],
        workload:
          drawn.command === '' ? { kind: 'none' } : { kind: 'command', command: [drawn.command] },
        pool: 'default',
        priority: 100,
      };
    });

const names = ['p1', 'p2', 'p3', 'p4'];
const file = fc
  .record({
    personalities: fc.tuple(...names.map((name) => fc.option(personality(name)))),
    mtu: fc.constantFrom(1_400, 1_500),
    vni: fc.constantFrom(200, 201),
    fabric: fc.constantFrom('vxlan' as const, 'vlan' as const, 'untagged' as const),
    gateway: fc.boolean(),
    joins: fc.boolean(),
    weight: fc.integer({ min: 0, max: 2 }),
    service: fc.boolean(),
    hosts: fc.integer({ min: 3, max: 6 }),
  })
  .map((drawn): ClusterConfig => {
    const base = clusterConfig();
    const personalities = drawn.personalities.filter((one) => one !== null);
    const members = personalities
      .filter((one) => one.networks.some(({ network }) => network === 'blue'))
      .map(({ name }, index) => ({ personality: name, weight: index === 0 ? drawn.weight : 1 }));
    const network = { id: 100, mtu: drawn.mtu, subnets: ['10.10.0.0/16', 'fd00:10::/64'] };
    const gateways = drawn.gateway ? ['10.66.0.250'] : [];
    return {
      ...base,
      hosts: ['h1', 'h2', 'h3', 'h4', 'h5', 'h6'].slice(0, drawn.hosts).map((name, index) => ({
        name,
        address: `10.66.0.${index + 1}`,
        interface: 'eth1',
        pool: 'default',
        joins: drawn.joins && name === 'h1' ? ['green'] : [],
        capacity: null,
        power: null,
      })),
      networks: [
        { ...network, name: 'blue', fabric: 'vxlan', gateways },
        {
          ...{ name: 'green', fabric: drawn.fabric, id: drawn.vni, mtu: 1_500, gateways: [] },
          subnets: ['10.20.0.0/16', 'fd00:20::/64'],
        },
      ],
      volumes: personalities.flatMap(({ storage }) =>
        storage.map(({ volume }) => ({
          ...{ name: volume, portals: ['10.77.0.1:3260'], target: `iqn.${volume}`, lun: 1 },
          filesystem: 'ext4' as const,
          format: 'if-blank' as const,
        })),
      ),
      personalities,
      services:
        drawn.service && members.length > 0
          ? base.services.map((one) => ({ ...one, members }))
          : [],
    };
  });

/** The store at rest under a file, all of its hosts enrolled. */
function atRest(config: ClusterConfig): View {
  const world = new World(config);
  world.remove(configKey);
  return follow(world.view, config);
}

function follow(view: View, config: ClusterConfig): View {
  const decision = decideApply(view, config, digest, zeroes);
  if (decision.kind !== 'apply') return view;
  return settle(applied(view, decision.application).view).view;
}

/** Carries out a difference as a kernel would: nothing twice, nothing in mid-air, nothing of nothing. */
function carryOut(before: readonly Fact[], differences: readonly Difference[]): readonly Fact[] {
  const there = new Map(before.map((fact) => [fact.id, fact]));
  const drop = (id: string): void => {
    there.delete(id);
    for (const fact of [...there.values()]) {
      if (!fact.on?.includes(id)) continue;
      if (fact.silent !== true) throw new Error(`${fact.id} is left when ${id} goes`);
      drop(fact.id);
    }
  };
  for (const { action, fact } of differences) {
    if ((action === 'add') === there.has(fact.id)) throw new Error(`${action} ${fact.id}: odd`);
    if (action === 'remove') {
      drop(fact.id);
      continue;
    }
    const grounds = (fact.on ?? []).filter((id) => !id.startsWith('link '));
    const missing = grounds.find((id) => !there.has(id));
    if (missing !== undefined) throw new Error(`${fact.id} before ${missing}`);
    there.set(fact.id, fact);
  }
  return [...there.values()];
}

const comparable = (facts: readonly Fact[]) =>
  facts
    .map(({ id, state, changeText }) => JSON.stringify([id, changeText === '' ? '' : state]))
    .sort();

function assertSame(a: readonly string[], b: readonly string[]): void {
  const [one, other] = [a.join('\n'), b.join('\n')];
  if (one !== other) throw new Error(`not the same:\n${one}\n\n${other}`);
}

test('the operations of a plan, carried out, give what agents would make of the new file alone', (t) => {
  fc.assert(
    fc.property(file, file, (old, young) => {
      const before = atRest(old);
      const after = follow(before, young);
      const hosts = [...old.hosts, ...young.hosts];
      for (const host of new Map(hosts.map((one) => [one.name, one])).values()) {
        const [from, to] = [hostFacts(before, host), hostFacts(after, host)];
        assertSame(comparable(carryOut(from, difference(from, to))), comparable(to));
      }
      const [from, to] = [maskFacts(before), maskFacts(after)];
      assertSame(comparable(carryOut(from, difference(from, to))), comparable(to));
    }),
    { numRuns: 120 },
  );
  t.end();
});

test('after apply there is nothing left to plan; before it, every change has an operation and a reason', (t) => {
  fc.assert(
    fc.property(file, file, (old, young) => {
      const before = atRest(old);
      const first = planApply(before, young, digest);
      if (first.kind === 'refused') return; // it leaves out a host that carries something
      const again = planApply(follow(before, young), young, digest);
      if (first.kind !== 'plan' || again.kind !== 'plan') throw new Error('undecided');
      if (again.plan.changes || again.plan.operations.length > 0) throw new Error('not at rest');
      const same =
        JSON.stringify(configOf(before)) === JSON.stringify(configOf(follow(before, young)));
      if (first.plan.changes === same) throw new Error(`changes: ${first.plan.changes}`);
      for (const { text, why, object } of first.plan.operations) {
        if (/undefined|\[object|NaN/.test(text + why + object) || why === '') {
          throw new Error(`says nothing: ${object}: ${text} (${why})`);
        }
      }
    }),
    { numRuns: 60 },
  );
  t.end();
});

test('forwarding entries change as the network adapter changes them', (t) => {
  fc.assert(
    fc.property(file, file, (old, young) => {
      const before = atRest(old);
      const after = follow(before, young);
      const [was, will] = [configOf(before), configOf(after)];
      if (was === undefined || will === undefined) throw new Error('no definition');
      for (const host of young.hosts) {
        const facts = { host: host.name, underlayInterface: 'eth1', underlayAddress: host.address };
        const [from, to] = [hostFacts(before, host), hostFacts(after, host)];
        const device = 'usn-blue/link carrier';
        if (
          ![from, to].every((list) =>
            list.some(({ id, state }) => id === device && state.quiet === false),
          )
        )
          continue;
        const peers = peerSpec(before, was, 'blue', facts);
        const wanted = peerSpec(after, will, 'blue', facts);
        const current = [
          ...peers.unicast,
          ...peers.flood.map((via) => ({ mac: '00:00:00:00:00:00', via })),
        ];
        const adapter = planForwarding(current, wanted.unicast, wanted.flood);
        const planned = difference(from, to).filter(({ fact }) =>
          fact.id.startsWith('usn-blue/fdb'),
        );
        const count = (...actions: string[]) =>
          planned.filter(({ action }) => actions.includes(action)).length;
        assertSame(
          [`${adapter.remove.length} ${adapter.replace.length + adapter.append.length}`],
          [`${count('remove')} ${count('add', 'change')}`],
        );
      }
    }),
    { numRuns: 60 },
  );
  t.end();
});
