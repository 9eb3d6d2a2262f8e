import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'tap';
import { parseClusterFile } from '../../src/config/parse.js';
import { writeClusterFile } from '../../src/config/write.js';
import { readTranslation, throughPrefixes, translate } from '../../src/migrate/translate.js';
import { root, understudy } from '../cli/run.js';
import { blocks, page } from '../docs/pages.js';

function configOf(text: string) {
  const parsed = parseClusterFile(text);
  if (!parsed.ok) throw new Error(JSON.stringify(parsed.problems));
  return parsed.config;
}

const siteA = configOf(readFileSync(`${root}examples/two-racks.yaml`, 'utf8'));

const map = `
cluster: two-racks-b
addresses:
  10.66.0.0/16: 10.166.0.0/16
  10.66.3.0/24: 10.200.3.0/24
  10.77.0.0/24: 10.177.0.0/24
  192.0.2.0/24: 198.51.100.0/24
  10.20.0.0/24: 10.21.0.0/24
  "2001:db8:100::/64": "2001:db8:200::/64"
hosts:
  witness: {name: witness-b, interface: ens3}
networks:
  frontend: {id: 200}
  backend: {name: back-b}
volumes:
  db-log: {lun: 7, target: "iqn.2026-11.com.example.other:db"}
  db-data: {target: "iqn.2026-11.com.example.other:db"}
targets:
  "iqn.2026-11.com.example.san": "iqn.2027-01.com.example.site-b"
macs: drop
`;

test('addresses, VLANs, LUNs and names become the other site’s, everywhere they stand', (t) => {
  const path = join(t.testdir(), 'map.yaml');
  writeFileSync(path, map);
  const { config, notes } = translate(siteA, readTranslation(path));
  t.strictSame(notes, []);
  const text = writeClusterFile(config);
  t.notMatch(text, /10\.66\.|10\.77\.|192\.0\.2\.|10\.20\.|db8:100|02:20|example\.san/);
  t.strictSame(configOf(text), config, 'it is a sound cluster file');
  t.match(config, {
    cluster: 'two-racks-b',
    controllers: ['a1', 'a2', 'b1', 'b2', 'witness-b'],
    store: { endpoints: ['http://10.166.1.1:2379', /\./, /\./, /\./, 'http://10.200.3.1:2379'] },
    networks: [
      { id: 200, subnets: ['198.51.100.0/24', '2001:db8:200::/64'] },
      { name: 'back-b', id: 20_000, gateways: ['10.200.3.9'] },
    ],
    volumes: [
      { target: 'iqn.2027-01.com.example.site-b:web1', portals: ['10.177.0.1:3260', /\./] },
      {},
      {},
      { lun: 7 },
    ],
  });
  t.match(config.hosts.at(-2), { name: 'witness-b', address: '10.200.3.1', interface: 'ens3' });
  t.match(config.hosts.at(-1), { joins: ['back-b'] });
  t.match(config.personalities[0]?.routes, [
    { to: '0.0.0.0/0', via: '198.51.100.1' },
    { to: '::/0', via: '2001:db8:200::1' },
  ]);
  t.match(config.personalities[2]?.networks, [
    { network: 'back-b', addresses: ['10.21.0.21/24'], mac: '' },
  ]);
  t.equal(config.services[0]?.addresses[0], '198.51.100.100');
  t.end();
});

test('what stays as it is, and what of the map fits nothing, is told', (t) => {
  const path = join(t.testdir(), 'map.yaml');
  writeFileSync(path, 'hosts: {a9: {}}\naddresses: {192.0.2.0/24: 198.51.0.0/16}\n');
  const { config, notes } = translate(siteA, readTranslation(path));
  t.equal(config.hosts[0]?.address, '10.66.1.1');
  for (const told of [
    /host a1: address 10\.66\.1\.1 is in no prefix/,
    /target .*example\.san:db/,
    /hosts\.a9/,
    /of different length/,
  ])
    t.ok(
      notes.some((note) => told.test(note)),
      String(told),
    );
  writeFileSync(path, 'adresses: {}\n');
  t.throws(() => readTranslation(path), { code: 'US_IMPORT_MAP' });
  t.end();
});

test('an address goes through the longest prefix that holds it', (t) => {
  const prefixes = {
    '10.0.0.0/8': '11.0.0.0/8',
    '10.1.0.0/16': '12.7.0.0/16',
    '10.1.2.128/25': '13.0.0.0/25',
  };
  const cases = [
    ['10.2.3.4', '11.2.3.4'],
    ['10.1.3.4', '12.7.3.4'],
    ['10.1.2.129', '13.0.0.1'],
    ['10.1.2.129/24', '12.7.2.129/24'],
    ['10.1.0.0/16', '12.7.0.0/16'],
    ['9.0.0.1', undefined],
    ['fd00::1', undefined],
    ['web', undefined],
  ] as const;
  for (const [from, to] of cases) t.equal(throughPrefixes(from, prefixes), to, from);
  t.end();
});

test('the command: the page’s own map, a sound file on stdout, notes on stderr', async (t) => {
  const folder = t.testdir();
  const shown = blocks(page('docs/operations.md')).find(({ lines }) =>
    lines.some((line) => line.startsWith('addresses:')),
  );
  writeFileSync(join(folder, 'map.yaml'), shown?.lines.join('\n') ?? '');
  const ran = await understudy([
    'import',
    'site',
    'examples/two-racks.yaml',
    '--map',
    join(folder, 'map.yaml'),
  ]);
  t.equal(ran.code, 0, ran.stderr);
  t.equal(parseClusterFile(ran.stdout).ok, true);
  t.match(ran.stderr, /two-racks\.yaml: \S/);
});
