import { readdirSync, readFileSync } from 'node:fs';
import { test } from 'tap';
import { parseClusterFile } from '../../src/config/parse.js';

const root = new URL('../../../', import.meta.url);

function parse(text: string) {
  const parsed = parseClusterFile(text);
  if (parsed.ok) return parsed;
  throw new Error(parsed.problems.map(({ line, what }) => `${line}: ${what}`).join('\n'));
}

test('every example is valid, and nothing in it is doubtful', (t) => {
  const examples = readdirSync(new URL('examples/', root)).filter((name) => name.endsWith('.yaml'));
  t.ok(examples.includes('lab.yaml') && examples.includes('two-racks.yaml'));
  for (const name of examples) {
    const parsed = parse(readFileSync(new URL(`examples/${name}`, root), 'utf8'));
    t.strictSame(parsed.warnings, [], name);
  }
  t.end();
});

test('the demonstration’s file for machines is valid; one of its pools has one host, as it says', (t) => {
  const { warnings } = parse(readFileSync(new URL('examples/vm/demo.yaml', root), 'utf8'));
  t.same(new Set(warnings.map(({ path }) => path)), new Set(['personalities[1].pool']));
  t.end();
});

test('the smallest file gets every default', (t) => {
  const { config, ...rest } = parse(`
cluster: small
controllers: [h1]
store: {endpoints: ["http://10.66.0.1:2379"]}
hosts: [{name: h1, address: 10.66.0.1}]
`);
  t.strictSame(config, {
    cluster: 'small',
    controllers: ['h1'],
    timing: { heartbeatMs: 50, leaseMs: 200, clockMarginPercent: 1, announceRefreshMs: 60_000 },
    fencing: { enforce: false },
    store: { endpoints: ['http://10.66.0.1:2379'] },
    hosts: [
      {
        name: 'h1',
        address: '10.66.0.1',
        interface: 'eth1',
        pool: 'default',
        joins: [],
        capacity: null,
        power: null,
      },
    ],
    networks: [],
    volumes: [],
    personalities: [],
    services: [],
  });
  t.strictSame(rest, { ok: true, warnings: [] });
  t.end();
});

test('each part gets its defaults, and the one spelling of addresses', (t) => {
  const { config, lab } = parse(`
cluster: small
controllers: [h1]
timing: {lease: 1.5s}
hosts: [{name: h1, address: "FD00:66:0::1", capacity: 2, power: {agent: fence_virsh, options: {ip: 10.0.0.9, ssh: 1}, passwordFile: /etc/understudy/virsh}}, {name: h2, pool: none, joins: [blue]}]
networks: [{name: blue, id: 7, subnet: [10.10.0.0/24, "FD00:10::/64"]}]
volumes: [{name: d, target: "iqn.2026-11.example.lab:D_1", lun: 3}]
personalities:
  - name: web1
    networks: [{network: blue, address: [10.10.0.11/24, "fd00:10:0::0B/064"], mac: "02:AA:00:00:00:01"}]
    routes: [{to: 10.99.1.1/16, via: 10.10.0.1}, {to: default, via: "FD00:10::1"}]
    storage: [{lun: 0, volume: d, mount: /srv/data}]
services:
  - name: web
    network: blue
    address: 10.10.0.100
    ports: [{protocol: udp, port: '8000-8010'}]
    members: [{personality: web1}]
    health: {tcp: 80}
lab:
  clients: [{name: c1, network: blue, address: 10.10.0.200/24}]
  storage: [{target: "iqn.2026-11.example.lab:D_1", luns: [{lun: 3, size: 2GiB}]}]
`);
  t.equal(config.timing.leaseMs, 1_500);
  t.strictSame(config.store.endpoints, []);
  t.strictSame(config.hosts, [
    {
      name: 'h1',
      address: 'fd00:66::1',
      interface: 'eth1',
      pool: 'default',
      joins: [],
      capacity: 2,
      power: {
        agent: 'fence_virsh',
        options: { ip: '10.0.0.9', ssh: '1' },
        action: 'off',
        passwordFile: '/etc/understudy/virsh',
        timeoutMs: 20_000,
      },
    },
    {
      name: 'h2',
      address: '',
      interface: 'eth1',
      pool: null,
      joins: ['blue'],
      capacity: null,
      power: null,
    },
  ]);
  t.strictSame(config.networks, [
    {
      name: 'blue',
      fabric: 'auto',
      id: 7,
      subnets: ['10.10.0.0/24', 'fd00:10::/64'],
      mtu: 1_500,
      gateways: [],
    },
  ]);
  t.strictSame(config.volumes, [
    {
      name: 'd',
      portals: [],
      target: 'iqn.2026-11.example.lab:D_1',
      lun: 3,
      filesystem: 'ext4',
      format: 'never',
      access: 'read-write',
      fence: 'mask',
    },
  ]);
  t.strictSame(config.personalities, [
    {
      name: 'web1',
      networks: [
        {
          network: 'blue',
          addresses: ['10.10.0.11/24', 'fd00:10::b/64'],
          mac: '02:aa:00:00:00:01',
        },
      ],
      routes: [
        { to: '10.99.0.0/16', via: '10.10.0.1' },
        { to: '::/0', via: 'fd00:10::1' },
      ],
      storage: [{ lun: 0, volume: 'd', mount: '/srv/data' }],
      workload: { kind: 'none' },
      pool: 'default',
      priority: 100,
    },
  ]);
  t.strictSame(config.services, [
    {
      name: 'web',
      network: 'blue',
      addresses: ['10.10.0.100'],
      mac: '',
      ports: [{ protocol: 'udp', first: 8_000, last: 8_010 }],
      members: [{ personality: 'web1', weight: 1 }],
      hash: 'source-ip-port',
      drainMs: 300_000,
      udpStickyMs: 0,
      xdp: false,
      health: { tcp: 80, everyMs: 200 },
      pool: 'default',
    },
  ]);
  t.strictSame(lab, {
    backend: 'netns',
    target: 'tgt',
    clients: [{ name: 'c1', network: 'blue', addresses: ['10.10.0.200/24'] }],
    storage: [{ target: 'iqn.2026-11.example.lab:D_1', luns: [{ lun: 3, sizeBytes: 2 ** 31 }] }],
  });
  t.end();
});

test('anchors and aliases may be used', (t) => {
  const { config } = parse(`
cluster: small
controllers: [h1]
store: {endpoints: ["http://10.66.0.1:2379"]}
hosts: [{name: h1, address: 10.66.0.1, pool: &pool gold}, {name: h2, address: 10.66.0.2, pool: *pool}]
`);
  t.strictSame(
    config.hosts.map(({ pool }) => pool),
    ['gold', 'gold'],
  );
  t.end();
});

test('what is allowed and probably not meant is a warning with a line', (t) => {
  const { warnings } = parse(`
cluster: small
controllers: [h1]
store: {endpoints: ["http://10.66.0.1:2379"]}
hosts: [{name: h1, address: 10.66.0.1}]
networks: [{name: blue, fabric: vxlan, id: 7, subnet: 10.10.0.0/24}]
volumes: [{name: d, portals: ["10.77.0.1:3260"], target: "iqn.2026-11.example.lab:d", lun: 3}]
personalities: [{name: web1, networks: [{network: blue, address: 10.10.0.11/24}]}]
services:
  - name: web
    network: blue
    address: 10.10.0.100
    ports: [{protocol: tcp, port: 80}]
    members: [{personality: web1, weight: 0}]
`);
  t.match(warnings, [
    { path: 'controllers', line: 3, what: /nothing can switch off h1/ },
    { path: 'volumes[0]', line: 7, what: /belongs to nobody/ },
    { path: 'personalities[0].pool', line: 8, what: /nothing can take over/ },
    { path: 'services[0].members', line: 14, what: /no answer/ },
  ]);
  t.end();
});
