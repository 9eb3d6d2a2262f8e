import { test } from 'tap';
import { dutiesOf } from '../../src/agent/owner.js';
import {
  attachSpecs,
  dispatchSpec,
  networksHere,
  nicsOf,
  peerSpec,
  personalityNamespace,
  serviceNamespace,
} from '../../src/agent/specs.js';
import { checksFor } from '../../src/agent/verifier.js';
import { allocationKey } from '../../src/control/keys.js';
import { memberReason } from '../../src/control/status.js';
import { clusterConfig, World, web, web1, web2 } from '../control/world.js';

const facts = { host: 'h2', underlayInterface: 'eth1', underlayAddress: '10.66.0.2' };

test('forwarding names every remote member and floods to members, joiners and gateways only', (t) => {
  const config = clusterConfig({
    hosts: clusterConfig().hosts.map((host) =>
      host.name === 'h4' ? { ...host, pool: null, joins: ['blue'] } : host,
    ),
  });
  const world = new World(config);
  world.assign(web1, 'h1');
  world.assign(web2, 'h2');
  const peers = peerSpec(world.view, config, 'blue', facts);
  t.same(peers.unicast, [{ mac: '02:00:00:00:00:11', via: '10.66.0.1' }]);
  t.same(peers.flood, ['10.66.0.1', '10.66.0.250', '10.66.0.4'], 'h3 has no member: left out');
  t.same(peers.allowed, peers.flood);
  world.assign(web1, 'h3', { epoch: 2 });
  const after = peerSpec(world.view, config, 'blue', facts);
  t.same(after.unicast, [{ mac: '02:00:00:00:00:11', via: '10.66.0.3' }]);
  t.notOk(after.allowed.includes('10.66.0.1'), 'the failed host is let in no more');
  t.end();
});

test('a dead host whose role nobody can take over, or that only joined, gets no broadcasts', (t) => {
  const config = clusterConfig({
    hosts: clusterConfig().hosts.map((host) =>
      host.name === 'h4' ? { ...host, pool: null, joins: ['blue'] } : host,
    ),
  });
  const world = new World(config);
  world.assign(web1, 'h1');
  world.assign(web2, 'h2');
  for (const dead of ['h1', 'h4']) {
    for (const controller of ['h2', 'h3']) world.vote(dead, 1, controller);
  }
  const peers = peerSpec(world.view, config, 'blue', facts);
  t.same(peers.flood, ['10.66.0.250'], 'the gateway alone');
  t.same(peers.unicast, [{ mac: '02:00:00:00:00:11', via: '10.66.0.1' }], 'not to everybody');
  world.enrol('h4', 2);
  t.same(peerSpec(world.view, config, 'blue', facts).flood, ['10.66.0.250', '10.66.0.4'], 'back');
  world.enrol('h1', 1, false);
  t.same(
    peerSpec(world.view, config, 'blue', facts).flood,
    ['10.66.0.1', '10.66.0.250', '10.66.0.4'],
    'voted out, but maybe alive',
  );
  t.end();
});

test('a host that left the file with a role on it is left out, and the others keep their entries', (t) => {
  const config = clusterConfig({ hosts: clusterConfig().hosts.slice(1) });
  const world = new World(config);
  world.assign(web1, 'h1');
  world.assign(web2, 'h3');
  const peers = peerSpec(world.view, config, 'blue', facts);
  t.same(peers.unicast, [{ mac: '02:00:00:00:00:12', via: '10.66.0.3' }]);
  t.same(peers.flood, ['10.66.0.250', '10.66.0.3']);
  t.end();
});

test('a host belongs to the networks of its roles and to those it joins', (t) => {
  const world = new World();
  t.same([...networksHere(world.view, clusterConfig(), 'h2')], []);
  world.assign(web, 'h2');
  t.same([...networksHere(world.view, clusterConfig(), 'h2')], ['blue']);
  t.end();
});

test('a member holds the shared address on lo; the dispatcher gets it last', (t) => {
  const config = clusterConfig();
  t.same(personalityNamespace(config, 'web1', 1, 1).loopbackAddresses, ['10.10.0.100']);
  t.same(serviceNamespace(config, 'web', 1, 1, false).nics[0]?.addresses, []);
  t.same(serviceNamespace(config, 'web', 1, 1, true).nics[0]?.addresses, ['10.10.0.100/24']);
  t.same(nicsOf(config, { kind: 'service', name: 'none' }), []);
  t.end();
});

test('a member that is being failed over keeps its place in the table', (t) => {
  const config = clusterConfig();
  const world = new World(config);
  world.assign(web1, 'h1');
  const [service] = config.services;
  if (service === undefined) throw new Error('one is expected');
  const health = (up: boolean, incarnation: number) =>
    world.write('report/h1', {
      incarnation,
      personalities: [],
      services: [],
      health: [{ service: 'web', personality: 'web1', epoch: 1, up }],
    });
  health(false, 1);
  t.equal(dispatchSpec(world.view, service, 1).members[0]?.healthy, false);
  world.assign(web1, 'h3', { epoch: 2 });
  t.equal(dispatchSpec(world.view, service, 1).members[0]?.healthy, true);
  t.equal(dispatchSpec(world.view, service, 1).members[0]?.mac, '02:00:00:00:00:11');
  t.end();
});

test('without balancing the first member that is up has all flows, and has them again when it is back', (t) => {
  const plain = clusterConfig();
  const config = {
    ...plain,
    services: plain.services.map((service) => ({ ...service, balance: 'none' as const })),
  };
  const world = new World(config);
  world.assign(web1, 'h1');
  world.assign(web2, 'h2');
  const [service] = config.services;
  if (service === undefined) throw new Error('one is expected');
  const check = (host: string, personality: string, up: boolean) =>
    world.write(`report/${host}`, {
      ...{ incarnation: 1, personalities: [], services: [] },
      health: [{ service: 'web', personality, epoch: 1, up }],
    });
  const weights = () => dispatchSpec(world.view, service, 1).members.map(({ weight }) => weight);
  t.same(weights(), [1, 0]);
  t.equal(memberReason(world.view, service, 'web1', 1), '');
  t.equal(memberReason(world.view, service, 'web2', 1), 'stands by for web1');
  check('h1', 'web1', false);
  t.same(weights(), [0, 1]);
  check('h2', 'web2', false);
  t.same(weights(), [1, 1], 'nobody is up');
  check('h1', 'web1', true);
  t.same(weights(), [1, 0]);
  const drained = {
    ...service,
    members: [
      { personality: 'web1', weight: 0 },
      { personality: 'web2', weight: 1 },
    ],
  };
  check('h2', 'web2', true);
  t.same(
    dispatchSpec(world.view, drained, 1).members.map(({ weight }) => weight),
    [0, 1],
    'nor who drains',
  );
  t.end();
});

test('only XDP asks for the NIC, the VLAN and who is on this host', (t) => {
  const facts = { host: 'h1', underlayInterface: 'eth1' };
  const specOf = (fabric: 'vlan' | 'vxlan', xdp: boolean) => {
    const plain = clusterConfig();
    const config = {
      ...plain,
      networks: plain.networks.map((network) => ({ ...network, fabric, id: 100 })),
      services: plain.services.map((service) => ({ ...service, xdp })),
    };
    const world = new World(config);
    world.assign(web1, 'h1');
    world.assign(web2, 'h2');
    const [service] = config.services;
    if (service === undefined) throw new Error('one is expected');
    const { xdpOn, vlan, members } = dispatchSpec(world.view, service, 1, facts);
    return [xdpOn, vlan, ...members.map(({ here }) => here)];
  };
  t.same(specOf('vlan', true), ['eth1', 100, true, undefined]);
  t.same(specOf('vlan', false), [undefined, undefined, undefined, undefined]);
  t.same(specOf('vxlan', true).slice(0, 2), [undefined, undefined], 'auto became vxlan');
  t.end();
});

test('volumes carry the serial that was recorded for them', (t) => {
  const [personality] = clusterConfig().personalities;
  if (personality === undefined) throw new Error('one is expected');
  const config = clusterConfig({
    volumes: [
      {
        name: 'data',
        portals: ['10.77.0.1:3260'],
        target: 'iqn.2026-11.example.lab:web1',
        lun: 1,
        filesystem: 'ext4',
        format: 'if-blank',
      },
    ],
    personalities: [{ ...personality, storage: [{ lun: 0, volume: 'data', mount: '/srv/data' }] }],
  });
  const world = new World(config);
  t.equal(attachSpecs(world.view, config, 'web1', 'h1', 3)[0]?.recordedSerial, undefined);
  world.write('volume/data', { serial: 'abc' });
  t.match(attachSpecs(world.view, config, 'web1', 'h1', 3), [
    { recordedSerial: 'abc', epoch: 3, host: 'h1', targetLun: 1, lun: 0 },
  ]);
  t.end();
});

test("a host's duties are those of its own incarnation", (t) => {
  const world = new World();
  world.assign(web1, 'h1', { incarnation: 1 });
  world.assign(web2, 'h1', { incarnation: 2, state: 'draining', epoch: 4 });
  t.same([...dutiesOf(world.view, 'h1', 1).keys()], ['personality/web1']);
  t.same(
    [...dutiesOf(world.view, 'h1', 2)],
    [['personality/web2', { kind: 'drain', epoch: 4, incarnation: 2 }]],
  );
  t.end();
});

test('one survivor verifies a takeover: the first by name that runs another member', (t) => {
  const world = new World();
  const running = (name: string, epoch: number) => ({
    name,
    epoch,
    phase: 'running',
    detail: '',
    volumes: [],
  });
  world.assign(web1, 'h3', { epoch: 2, failover: 'web1-2' });
  world.assign(web2, 'h2');
  world.write('report/h2', {
    incarnation: 1,
    personalities: [running('web2', 1)],
    services: [],
    health: [],
  });
  t.same(checksFor(world.view, 'h2'), [], 'not before the new owner says that it runs');
  world.write('report/h3', {
    incarnation: 1,
    personalities: [running('web1', 2)],
    services: [],
    health: [],
  });
  t.same(
    checksFor(world.view, 'h2'),
    [],
    'nor when its record has gone beyond the bound of history',
  );
  world.write('failovers/web1-2', { id: 'web1-2', name: 'web1', epoch: 2, evidence: [] });
  t.match(checksFor(world.view, 'h2'), [
    { failover: 'web1-2', from: 'web2', address: '10.10.0.11', mac: '02:00:00:00:00:11' },
  ]);
  t.same(checksFor(world.view, 'h3'), [], 'never the new owner itself');
  world.write('steps/web1-2/verifier', { steps: [] });
  t.same(checksFor(world.view, 'h2'), [], 'once');
  t.end();
});

test('a host is told ahead of what moves to it in good order', async (t) => {
  const world = new World();
  world.assign(web1, 'h1', { state: 'draining', to: 'h3' });
  t.match(dutiesOf(world.view, 'h1', 1).get('personality/web1'), { kind: 'drain', epoch: 1 });
  t.same(dutiesOf(world.view, 'h3', 2).get('personality/web1'), { kind: 'ready', incarnation: 2 });
  t.equal(dutiesOf(world.view, 'h4', 1).size, 0);
});

test('several dispatchers of one service map alike, each by its own next hop and MAC', (t) => {
  const [shared] = clusterConfig().services;
  if (shared === undefined) throw new Error('there is one');
  const services = [1, 2].map((number) => ({
    ...shared,
    name: `web-${number}`,
    group: 'web',
    addresses: ['192.0.2.1'],
    nextHops: [`10.10.0.${number + 1}`],
    mac: `02:00:00:00:ff:0${number}`,
  }));
  const config = clusterConfig({ services });
  const world = new World(config);
  world.assign(web1, 'h1');
  world.write('report/h1', {
    incarnation: 1,
    personalities: [],
    services: [],
    health: [{ service: 'web', personality: 'web1', epoch: 1, up: false }],
  });
  world.write(allocationKey, { macs: {}, seeds: { web: '0123456789abcdef'.repeat(2) } });
  const [one, other] = services.map((service) => dispatchSpec(world.view, service, 1));
  t.equal(one?.seed, '0123456789abcdef'.repeat(2), 'the service’s seed');
  const mapping = (spec: typeof one) =>
    spec && [spec.seed, spec.members, spec.hash, spec.ports, spec.addresses];
  t.same(mapping(one), mapping(other));
  t.match(one?.members, [{ personality: 'web1', healthy: false }, { healthy: true }]);
  t.same([one?.mac, one?.otherDispatchers], ['02:00:00:00:ff:01', ['02:00:00:00:ff:02']]);
  const role = (number: number) => ({ kind: 'service', name: `web-${number}` }) as const;
  t.match(nicsOf(config, role(2)), [{ addresses: ['10.10.0.3/24'], mac: '02:00:00:00:ff:02' }]);
  const { nics, loopbackAddresses } = serviceNamespace(config, 'web-1', 1, 1, true);
  t.match([nics, loopbackAddresses], [[{ addresses: ['10.10.0.2/24'] }], ['192.0.2.1']]);
  t.match(serviceNamespace(config, 'web-1', 1, 1, false), {
    nics: [{ addresses: [] }],
    loopbackAddresses: [],
  });
  t.same(personalityNamespace(config, 'web1', 1, 1).loopbackAddresses, ['192.0.2.1'], 'once');
  t.end();
});
