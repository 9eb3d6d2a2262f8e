import { readFileSync } from 'node:fs';
import { test } from 'tap';
import { type Problem, parseClusterFile } from '../../src/config/parse.js';

const good = readFileSync(new URL('../../../test/config/good/shop.yaml', import.meta.url), 'utf8');
const lab = `lab:
  clients: [{name: c1, network: blue, address: 10.10.0.200/24}]
  storage: [{target: "iqn.2026-11.example.san:web3", luns: [{lun: 1, size: 64MiB}]}]
`;

function problemsOf(text: string): readonly Problem[] {
  const parsed = parseClusterFile(text);
  return parsed.ok ? [] : parsed.problems;
}

/** The valid file with one text replaced by another. */
function edited(before: string, after: string, from = good): string {
  if (!from.includes(before)) throw new Error(`the valid file has no ${before}`);
  return from.replace(before, after);
}

/** [replace this, by this, path of the problem, part of what is wrong, part of what to write] */
const edits: readonly (readonly [string, string, string, string, string])[] = [
  ['cluster: shop\n', '', 'cluster', 'cluster is missing', 'write a name'],
  ['heartbeat: 50ms', 'heartbeat: 50 msec', 'timing.heartbeat', '50 msec', 'with its unit'],
  ['heartbeat: 50ms', 'heartbeat: 0ms', 'timing.heartbeat', 'cannot be 0ms', 'from 1ms'],
  ['heartbeat: 50ms', 'heartbeat: 1ms', 'timing.heartbeat', 'schedulers', '5ms or more'],
  ['lease: 200ms', 'lease: 9999999m', 'timing.lease', 'cannot be', 'to 1440m'],
  ['[h1, h2, h3]', '[]', 'controllers', 'an empty list', '1, 3 or 5'],
  ['[h1, h2, h3]', '[h1, h2, h2]', 'controllers[2]', 'named twice', 'once'],
  ['http://10.66.0.2:2379', '10.66.0.2:2379', 'store.endpoints[1]', 'cannot be', 'http://ADDRESS'],
  ['http://10.66.0.2:2379', 'http://10.66.0.2', 'store.endpoints[1]', 'cannot be', ':PORT'],
  ['http://10.66.0.2:2379', 'http://10.66.0.1:2379', 'store.endpoints[1]', 'twice', 'once'],
  ['address: 10.66.0.3', 'address: h3.example', 'hosts[2].address', 'no IP address', '10.66'],
  ['address: 10.66.0.3', 'address: 127.0.0.1', 'hosts[2].address', 'cannot be', '10.66'],
  ['address: 10.66.0.3', 'address: "fe80::1%eth1"', 'hosts[2].address', 'no IP address', '10.66'],
  ['address: 10.66.0.3', 'address: 10.66.0.2', 'hosts[2].address', 'two hosts', 'its own'],
  [
    'address: 10.66.0.3}',
    'address: 10.66.0.3, interface: "eth 1"}',
    'hosts[2].interface',
    'eth 1',
    'NIC',
  ],
  [
    'address: 10.66.0.3}',
    'address: 10.66.0.3, power: {agent: fence_ipmilan, options: {password: secret}}}',
    'hosts[2].power.options.password',
    'does not belong',
    'passwordFile',
  ],
  [
    'address: 10.66.0.3}',
    'address: 10.66.0.3, power: {agent: "fence_ipmilan --action=on"}}',
    'hosts[2].power.agent',
    'fence_ipmilan --action',
    'name of a fence agent',
  ],
  ['address: 10.66.0.3}', 'address: 10.66.0.3, capacity: 0}', 'hosts[2].capacity', '0', '1'],
  ['fabric: vlan, id: 100', 'fabric: untagged, id: 100', 'networks[0].id', 'no id', 'leave id out'],
  ['fabric: vlan, id: 100,', 'fabric: vlan,', 'networks[0]', 'has no id', 'from 1 to 4094'],
  ['fabric: vxlan, id: 200', 'fabric: auto, id: 100', 'networks[1].id', 'vlan 100', 'its own id'],
  ['fabric: vxlan', 'fabric: gre', 'networks[1].fabric', 'cannot be gre', 'vxlan'],
  ['id: 100,', 'id: 100, gateways: [10.66.0.9],', 'networks[0].gateways', 'only a vxlan', 'leave'],
  ['id: 200,', 'id: 200, gateways: [switch],', 'networks[1].gateways[0]', 'no address', 'underlay'],
  ['id: 100,', 'id: 100, mtu: 1000,', 'networks[0].mtu', 'too small for IPv6', '1280'],
  [
    'subnet: 10.20.0.0/24',
    'subnet: 10.20.0.1/24',
    'networks[1].subnet',
    'is no subnet',
    'its length',
  ],
  ['subnet: 10.20.0.0/24', 'subnet: 224.0.0.0/24', 'networks[1].subnet', 'no host', 'unicast'],
  ['"fd00:10::/64"]', '10.11.0.0/24]', 'networks[0].subnet', 'one address family', 'IPv6'],
  ['example.san:web2', 'example.san:web1', 'volumes[1]', 'two volumes are LUN 1', 'once'],
  [
    '2026-11.example.san:web2',
    '2026-13.example.san:web2',
    'volumes[1].target',
    'iqn.2026-13',
    'RFC 3720',
  ],
  // A target of LIO is a folder by its name.
  [
    'example.san:web2',
    'example.san:web2/../../x',
    'volumes[1].target',
    'cannot be iqn.2026-11.example.san:web2/../../x',
    'RFC 3720',
  ],
  ['san:web2", lun: 1', 'san:web2", lun: -1', 'volumes[1].lun', 'cannot be -1', '0 or more'],
  ['san:web2", lun: 1', 'san:web2", lun: 1.5', 'volumes[1].lun', 'cannot be 1.5', 'whole number'],
  [
    'san:web2", lun: 1',
    'san:web1", lun: 2',
    'personalities[1].storage[0].volume',
    'fencing one',
    'target of its own',
  ],
  [
    '{name: web2-data, portals: ["10.77.0.1:3260"], ',
    '{name: web2-data, ',
    'volumes[1]',
    'no portal',
    '3260',
  ],
  [
    'web2-data, portals: ["10.77.0.1:3260"]',
    'web2-data, portals: ["san:3260"]',
    'volumes[1].portals[0]',
    'no portal',
    'address:port',
  ],
  [
    '10.10.0.12/24',
    '10.10.0.0/24',
    'personalities[1].networks[0].address',
    'subnet itself',
    'host',
  ],
  ['10.10.0.12/24', '10.10.0.12', 'personalities[1].networks[0].address', 'no address with', '/24'],
  [
    '10.10.0.12/24',
    '10.10.0.12/16',
    'personalities[1].networks[0].address',
    'another length',
    '10.10.0.12/24',
  ],
  [
    '10.10.0.12/24',
    '10.40.0.12/24',
    'personalities[1].networks[0].address',
    'outside network blue',
    '10.10.0.0/24',
  ],
  [
    'address: 10.10.0.12/24',
    'address: [10.10.0.12/24, 10.10.0.13/24]',
    'personalities[1].networks[0].address',
    'one address family',
    'IPv6',
  ],
  [
    'address: 10.10.0.12/24',
    'address: [10.10.0.12/24, "FD00:10:0::0011/64"]',
    'personalities[1].networks[0].address',
    'fd00:10::11 is given twice',
    'its own',
  ],
  [
    'address: 10.10.0.12/24',
    'address: [10.10.0.12/24, "fd00:10::/64"]',
    'personalities[1].networks[0].address',
    'subnet itself',
    'host',
  ],
  [
    '02:00:00:00:00:12',
    '00:16:3e:00:00:12',
    'personalities[1].networks[0].mac',
    'globally assigned',
    '02:',
  ],
  [
    '02:00:00:00:00:12',
    '02-00-00-00-00-12',
    'personalities[1].networks[0].mac',
    'cannot be',
    'MAC such as',
  ],
  ['name: db1', 'name: DB1', 'personalities[2].name', 'cannot be DB1', 'lower-case'],
  ['name: db1', 'name: blk', 'personalities[2].name', 'another use', 'another name'],
  ['name: db1', 'name: svc-web', 'personalities[2].name', 'dispatcher', 'svc-'],
  ['name: db1', 'name: web2', 'personalities[2].name', 'two personalities', 'own name'],
  [
    'via: 10.10.0.1',
    'via: 10.50.0.1',
    'personalities[0].routes[0].via',
    'on no network',
    'next hop',
  ],
  ['via: 10.10.0.1', 'via: gateway', 'personalities[0].routes[0].via', 'no IP address', 'next hop'],
  [
    'routes: [{to: default, via: 10.10.0.1}]',
    'routes: [{to: 10.9.8.7/16, via: 10.10.0.1}, {to: 10.9.0.0/16, via: 10.10.0.2}]',
    'personalities[0].routes[1].to',
    'web1 has two routes to 10.9.0.0/16',
    'one next hop',
  ],
  [
    'routes: [{to: default, via: 10.10.0.1}]',
    'routes: [{to: default, via: 10.10.0.1}, {to: 0.0.0.0/0, via: 10.10.0.2}]',
    'personalities[0].routes[1].to',
    'web1 has two routes to 0.0.0.0/0',
    'one next hop',
  ],
  ['to: default', 'to: everywhere', 'personalities[0].routes[0].to', 'no prefix', 'default'],
  ['to: default', 'to: "fd00:99::/64"', 'personalities[0].routes[0].via', 'cannot lead', 'family'],
  [
    'mount: /srv/data',
    'mount: /srv/../etc',
    'personalities[0].storage[0].mount',
    '/srv/../etc',
    'absolute',
  ],
  ['mount: /srv/data', 'mount: /', 'personalities[0].storage[0].mount', 'cannot be /', 'absolute'],
  [
    'mount: /srv/data',
    'mount: /proc/data',
    'personalities[0].storage[0].mount',
    '/proc',
    'outside /proc',
  ],
  [
    'command: [nginx, -g, "daemon off;"]',
    'command: nginx',
    'personalities[0].workload',
    '{command}',
    '{unit:',
  ],
  [
    'unit: nginx@web2.service',
    'unit: nginx@web2.service, command: [a]',
    'personalities[1].workload',
    '{unit, command}',
    'or',
  ],
  [
    'unit: nginx@web2.service',
    'unit: nginx',
    'personalities[1].workload.unit',
    'cannot be nginx',
    'service',
  ],
  [
    'unit: nginx@web2.service',
    'unit: nginx@.service',
    'personalities[1].workload.unit',
    'cannot be',
    '@web1',
  ],
  [
    'command: [nginx, -g, "daemon off;"]',
    'unit: nginx@web2.service',
    'personalities[1].workload.unit',
    'once a host',
    'instance',
  ],
  [
    'address: 10.10.0.100',
    'address: 10.10.0.100/24',
    'services[0].address',
    'no prefix length',
    '10.10.0.100',
  ],
  [
    'address: 10.10.0.100',
    'address: [10.10.0.100, "fd00:10::100"]',
    'services[0].members[1]',
    'no IPv6 address',
    'web2',
  ],
  [
    'port: 80}]',
    "port: '8010-8000'}]",
    'services[0].ports[0].port',
    '8010-8000',
    'lower one first',
  ],
  ['port: 80}]', 'port: http}]', 'services[0].ports[0].port', 'cannot be http', 'port number'],
  [
    '{protocol: tcp, port: 80}]',
    "{protocol: tcp, port: 80}, {protocol: tcp, port: '70-90'}]",
    'services[0].ports[1].port',
    'tcp port 80',
    'once',
  ],
  [
    '    network: blue\n',
    '    network: blu\n',
    'services[0].network',
    'no network blu',
    'write blue',
  ],
  [
    '    network: blue\n',
    '    network: green\n    xdp: true\n',
    'services[0].xdp',
    'cannot see what is inside',
    'leave xdp out',
  ],
  [
    '    network: blue\n',
    '    network: blue\n    dispatchers: [10.10.0.2, 10.10.0.3]\n',
    'services[0].address',
    'inside network blue',
    'outside',
  ],
  ...(
    [
      ['[10.10.0.2]', '', 'dispatchers', 'two to 8 at once', 'a next hop for each'],
      ['[10.10.0.2, 10.10.0.2]', '', 'dispatchers[1]', 'given twice', 'its own'],
      ['[10.10.0.2, 10.9.0.3]', '', 'dispatchers[1]', 'outside network blue', '10.10.0.0/24'],
      ['[10.10.0.2, "fd00:10::3"]', '', 'dispatchers[1]', 'next hops for IPv6', 'each family'],
      [
        '[10.10.0.2, 10.10.0.3]',
        '    mac: "02:00:00:00:00:99"\n',
        'mac',
        'one MAC',
        'leave mac out',
      ],
    ] as const
  ).map(
    ([hops, more, path, what, write]) =>
      [
        '    network: blue\n    address: 10.10.0.100\n',
        `    network: blue\n    address: 192.0.2.1\n    dispatchers: ${hops}\n${more}`,
        `services[0].${path}`,
        what,
        write,
      ] as const,
  ),
  [
    '    network: blue\n',
    '    network: blue\n    dataPlane: nftables\n    xdp: true\n',
    'services[0].xdp',
    'not nftables',
    'leave xdp out',
  ],
  [
    '    network: blue\n',
    '    network: blue\n    dataPlane: nftables\n    udpSticky: 30s\n',
    'services[0].udpSticky',
    'remembers no flows',
    'leave udpSticky out',
  ],
  [
    'members: [web1, web2]',
    'members: [web1, web1]',
    'services[0].members[1]',
    'twice a member',
    'weight',
  ],
  [
    '    health:',
    '    hash: round-robin\n    health:',
    'services[0].hash',
    'round-robin',
    '5-tuple',
  ],
  ['{tcp: 80, every', '{every', 'services[0].health', 'asks nothing', '{tcp: 80}'],
  ['{tcp: 80,', '{tcp: 80, http: 80,', 'services[0].health', 'more ways than one', '{http: 80'],
  ['{tcp: 80,', '{script: [/bin/check], tcp: 80,', 'services[0].health', 'more ways', '{script:'],
  ['{tcp: 80,', '{script: [check],', 'services[0].health.script[0]', 'absolute', 'whole path'],
  ['{tcp: 80,', '{script: [],', 'services[0].health.script', 'empty list', 'the program'],
  [
    '{tcp: 80,',
    '{script: [/bin/check], path: /x,',
    'services[0].health.path',
    'no path',
    'argument',
  ],
  [
    '{tcp: 80, every: 200ms',
    '{script: [/bin/check], every: 100ms',
    'services[0].health.every',
    'busy',
    '200ms',
  ],
  ['{tcp: 80,', '{tcp: 80, user: www-data,', 'services[0].health.user', 'no user', 'script:'],
  [
    '{tcp: 80,',
    '{script: [/bin/check], user: root,',
    'services[0].health.user',
    'never runs as root',
    'a user that',
  ],
  ['{tcp: 80,', '{script: [/c], user: A B,', 'services[0].health.user', 'A B', 'name of a user'],
  ['{tcp: 80,', '{tcp: 80, path: /x,', 'services[0].health.path', 'no path', 'http:'],
  [
    '    health:',
    '    slowStart: 200ms\n    health:',
    'services[0].slowStart',
    'no slow start',
    '1s',
  ],
  [
    '    health: {tcp: 80, every: 200ms}',
    '    slowStart: 30s',
    'services[0].slowStart',
    'is back',
    'health',
  ],
  [
    '    health:',
    '    balance: none\n    slowStart: 30s\n    health:',
    'services[0].slowStart',
    'no share',
    'balance',
  ],
  ['{tcp: 80,', '{http: 80, path: x y,', 'services[0].health.path', 'GET', '/healthz'],
  ['    health:', '    pool: gold\n    health:', 'services[0].pool', 'pool gold', 'default'],
];

test('each edit of a valid file is told where it was made', (t) => {
  t.strictSame(problemsOf(good), []);
  for (const [before, after, path, what, write] of edits) {
    const [first] = problemsOf(edited(before, after));
    t.equal(first?.path, path, after);
    t.ok(first?.what.includes(what), `${first?.what}: ${what}`);
    t.ok(first?.write.includes(write), `${first?.write}: ${write}`);
  }
  t.end();
});

test('a lab’s own section is checked against the rest', (t) => {
  t.strictSame(problemsOf(good + lab), []);
  const labEdits: readonly (readonly [string, string, string, string])[] = [
    ['size: 64MiB', 'size: 64MB', 'lab.storage[0].luns[0].size', 'cannot be 64MB'],
    ['size: 64MiB', 'size: 0MiB', 'lab.storage[0].luns[0].size', 'cannot be 0MiB'],
    [
      'network: blue, address: 10.10.0.200',
      'network: red, address: 10.10.0.200',
      'lab.clients[0].network',
      'no network red',
    ],
    [
      '{lun: 1, size: 64MiB}',
      '{lun: 1, size: 64MiB}, {lun: 1, size: 1GiB}',
      'lab.storage[0].luns[1].lun',
      'LUN 1 twice',
    ],
    ['name: c1', 'name: h1', 'lab.clients[0].name', 'two nodes'],
    ['name: c1', 'name: web1', 'lab.clients[0].name', 'two nodes'],
    ['name: c1', 'name: storage', 'lab.clients[0].name', 'node of every lab'],
    ['name: db1', 'name: h1', 'personalities[2].name', 'two nodes'],
    [
      '{name: web2-data, portals: ["10.77.0.1:3260"], ',
      '{name: web2-data, ',
      'volumes[1]',
      'offers no LUN 1',
    ],
  ];
  for (const [before, after, path, what] of labEdits) {
    const [first] = problemsOf(edited(before, after, good + lab));
    t.equal(first?.path, path, after);
    t.ok(first?.what.includes(what), `${first?.what}: ${what}`);
  }
  t.end();
});

test('all problems are told at once, in the order of the lines', (t) => {
  const text = edited(
    'id: 100',
    'id: 5000',
    edited('via: 10.10.0.1', 'via: 10.50.0.1', edited('lease: 200ms', 'lease: 60ms')),
  );
  const problems = problemsOf(text);
  t.strictSame(
    problems.map(({ path }) => path),
    ['timing.lease', 'networks[0].id', 'personalities[0].routes[0].via'],
  );
  t.strictSame(
    problems.map(({ line }) => line),
    [3, 10, 18],
  );
  t.end();
});

test('a name that is near to several is not guessed', (t) => {
  const [first] = problemsOf(edited('[h1, h2, h3]', '[h1, h2, h4]'));
  t.equal(first?.write, 'write one of: h1, h2, h3');
  t.end();
});

test('what stands behind an alias is told at its anchor', (t) => {
  const text = edited('networks: [{network: green', 'networks: &nics [{network: red', good).replace(
    'services:',
    '  - {name: db2, networks: *nics}\nservices:',
  );
  const problems = problemsOf(text).filter(({ what }) => what.includes('no network red'));
  t.strictSame(
    problems.map(({ path, line }) => [path, line]),
    [
      ['personalities[2].networks[0].network', 26],
      ['personalities[3].networks[0].network', 26],
    ],
  );
  t.end();
});

test('what a file can do to its reader is bounded', (t) => {
  const told = (text: string) => problemsOf(text)[0]?.what ?? '';
  t.match(told('# '.repeat(600_000)), /larger than 1 MiB/);
  for (const opening of ['[', '{a: ', '- ', '? ', '[{', '- [']) {
    for (const times of [100, 3_000, 100_000]) {
      t.match(told(opening.repeat(times)), /nested too deeply/, `${times} ${opening}`);
    }
  }
  const steps = Array.from({ length: 1_000 }, (_, depth) => `${' '.repeat(depth)}a:`).join('\n');
  t.match(told(steps), /nested too deeply/);
  const level = (name: string, below: string) =>
    `${name}: &${name} [${Array(9).fill(below).join(',')}]\n`;
  const bomb = ['a', 'b', 'c', 'd', 'e', 'f', 'g'].reduce(
    (text, name, index, names) => text + level(name, index === 0 ? '1' : `*${names[index - 1]}`),
    '',
  );
  t.match(told(bomb), /aliases multiply/);
  t.match(told('cluster: *nowhere'), /Unresolved alias/);
  t.match(told('cluster: !secret shop'), /Unresolved tag/);
  const many = Array.from({ length: 5_000 }, (_, index) => `k${index}: 1`).join('\n');
  t.equal(problemsOf(many).length, 100);
  t.end();
});
