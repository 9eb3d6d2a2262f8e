import { readdirSync, readFileSync } from 'node:fs';
import { test } from 'tap';
import { parseClusterFile } from '../../src/config/parse.js';

const folder = new URL('../../../test/config/broken/', import.meta.url);

/** Each file has one fault: path, line, what is wrong, what to write instead. */
const expected: Readonly<Record<string, readonly [string, number, string, string]>> = {
  'address-is-broadcast-address': [
    'personalities[1].networks[0].address',
    22,
    '10.10.0.255/24 is the broadcast address of its subnet',
    'write an address of a host',
  ],
  'address-twice': [
    'personalities[1].networks[0].address',
    22,
    '10.10.0.11 is given twice',
    'give each its own address',
  ],
  'command-empty': [
    'personalities[0].workload.command',
    20,
    'command cannot be an empty list',
    'write the program and its arguments, e.g. [nginx, -g, "daemon off;"]',
  ],
  'controller-unknown': ['controllers[2]', 2, 'there is no host h4', 'write one of: h1, h2, h3'],
  'controllers-even': [
    'controllers',
    2,
    '2 controllers: an even number survives no more failures than one less',
    'name 1, 3 or 5 hosts',
  ],
  'duplicate-key': ['', 3, 'Map keys must be unique', 'write this key once'],
  'duration-without-unit': [
    'timing.lease',
    3,
    'lease cannot be 200',
    'write a duration with its unit, e.g. 200ms, 2s or 1m',
  ],
  'health-without-port': [
    'services[0].health',
    33,
    'health asks nothing',
    'write {tcp: 80}, {http: 80, path: /healthz}, or {script: [/path/of/program]}',
  ],
  'host-address-missing': [
    'hosts[2]',
    8,
    'host h3 has no address',
    'add address: its address on the internal network',
  ],
  'host-joins-unknown': [
    'hosts[2].joins[0]',
    8,
    'there is no network red',
    'write one of: blue, green',
  ],
  'host-twice': ['hosts[2].name', 8, 'two hosts are called h2', 'give each its own name'],
  'lab-client-outside': [
    'lab.clients[0].address',
    36,
    '10.60.0.200/24 is outside network blue',
    'write an address in 10.10.0.0/24 or fd00:10::/64',
  ],
  'lease-too-short': [
    'timing.lease',
    3,
    'a lease of 120 ms is shorter than 3 heartbeats of 50 ms: one lost packet would end it',
    'write 150ms or more',
  ],
  'mac-multicast': [
    'personalities[1].networks[0].mac',
    22,
    '03:00:00:00:00:12 is a multicast MAC',
    'write a locally administered unicast one, e.g. 02:00:00:00:00:11, or leave it out',
  ],
  'mac-twice': [
    'personalities[1].networks[0].mac',
    22,
    'MAC 02:00:00:00:00:11 is given twice',
    'give each its own, or leave it out',
  ],
  'member-not-on-network': [
    'services[0].members[1]',
    32,
    'member db1 is not on network blue',
    'give db1 a NIC on blue',
  ],
  'member-unknown': [
    'services[0].members[1]',
    32,
    'there is no personality web3',
    'write one of: web1, web2, db1',
  ],
  'member-weight-negative': [
    'services[0].members[1].weight',
    32,
    'weight cannot be -1',
    'write 0 or more',
  ],
  'mount-relative': [
    'personalities[1].storage[0].mount',
    23,
    'mount cannot be srv/data',
    'write an absolute path such as /srv/data, without . or .. and with no / at its end',
  ],
  'name-too-long': [
    'personalities[2].name',
    25,
    'name cannot be ddddddddddddddddddddddddddddddddddddddddd',
    'write a name of lower-case letters, digits and hyphens, at most 40 long (RFC 1123)',
  ],
  'network-unknown': [
    'personalities[2].networks[0].network',
    26,
    'there is no network gren',
    'write green',
  ],
  'not-yaml': [
    '',
    6,
    'Block collections are not allowed within flow collections',
    'correct the YAML: look at indentation, quotes and brackets',
  ],
  'pool-without-host': [
    'personalities[1].pool',
    25,
    'there is no host in pool gold',
    'write one of: default',
  ],
  'port-out-of-range': [
    'services[0].ports[0].port',
    31,
    'port cannot be 70000',
    'write a port number, 1 to 65535',
  ],
  'same-fabric-and-id': [
    'networks[1].id',
    11,
    'two networks are vlan 100',
    'give each network its own id',
  ],
  'same-portal-target-lun': [
    'volumes[1]',
    14,
    'two volumes are LUN 1 of iqn.2026-11.example.san:web1',
    'a LUN is one volume: name it once',
  ],
  'service-is-member-address': [
    'services[0].address',
    30,
    '10.10.0.11 is given twice',
    'give each its own address',
  ],
  'service-outside-subnet': [
    'services[0].address',
    30,
    '10.30.0.100 is outside network blue',
    'write an address in 10.10.0.0/24 or fd00:10::/64',
  ],
  'size-without-unit': [
    'lab.storage[0].luns[0].size',
    37,
    'size cannot be 64',
    'write a size with its unit, e.g. 64MiB or 10GiB',
  ],
  'storage-lun-twice': [
    'personalities[1].storage[1].lun',
    24,
    'two disks of web2 are virtual LUN 0',
    'number them 0, 1, …',
  ],
  'storage-mount-twice': [
    'personalities[1].storage[1].mount',
    24,
    'two disks of web2 are mounted at /srv/data',
    'give each its own path',
  ],
  'store-missing': [
    'store',
    1,
    'no etcd is named',
    'add store: {endpoints: ["http://10.66.0.1:2379"]}',
  ],
  'subnets-overlap': [
    'networks[1].subnet',
    11,
    '10.10.0.128/25 overlaps a subnet of blue',
    'give each network a subnet of its own',
  ],
  'target-form': [
    'volumes[1].target',
    14,
    'target cannot be web2',
    'write an iSCSI name such as iqn.2026-11.example.lab:web1 (RFC 3720)',
  ],
  'two-documents': [
    '',
    34,
    'a second document begins here',
    'write one cluster a file: leave out --- and what follows',
  ],
  'unknown-key': ['hosts[1].adress', 7, 'unknown key adress', 'write address'],
  'unknown-top-key': ['network', 9, 'unknown key network', 'write networks'],
  'vlan-id-too-large': [
    'networks[0].id',
    10,
    '4095 is no VLAN ID',
    'write a VLAN ID from 1 to 4094',
  ],
  'vni-too-large': ['networks[1].id', 11, '16777216 is no VNI', 'write a VNI from 1 to 16777215'],
  'volume-chap-one-secret': [
    'volumes[0].chap.mutual.secretFile',
    13,
    'both directions of CHAP have the secret of /etc/us/chap',
    'give the target a secret of its own (RFC 7143, 9.2.1)',
  ],
  'volume-fence-mixed': [
    'volumes[1].fence',
    14,
    'volume web2-data is fenced by reservation, web1-data of the same target by mask',
    'fence: mask, or give it a target of its own',
  ],
  'volume-fence-unknown': [
    'volumes[0].fence',
    13,
    'fence cannot be lease',
    'write mask or reservation',
  ],
  'volume-raw-formatted': [
    'volumes[0].format',
    13,
    'volume web1-data has no file system and shall be formatted',
    'format: never, or filesystem: ext4',
  ],
  'volume-read-only-formatted': [
    'volumes[0].format',
    13,
    'volume web1-data is read-only and shall be formatted',
    'format: never, or access: read-write',
  ],
  'volume-two-personalities': [
    'personalities[1].storage[0].volume',
    23,
    'volume web1-data is used twice: it would have two writers',
    'give each personality a volume of its own',
  ],
  'volume-unknown': [
    'personalities[1].storage[0].volume',
    23,
    'there is no volume web-data',
    'write one of: web1-data, web2-data',
  ],
  'wrong-type': ['hosts', 5, 'hosts cannot be h1', 'write a list'],
};

test('each broken file is told by path, line and what to write', (t) => {
  const files = readdirSync(folder).map((name) => name.replace(/\.yaml$/, ''));
  t.strictSame(files.sort(), Object.keys(expected).sort(), 'the table has every file');
  for (const [name, [path, line, what, write]] of Object.entries(expected)) {
    const parsed = parseClusterFile(readFileSync(new URL(`${name}.yaml`, folder), 'utf8'));
    if (parsed.ok) {
      t.fail(`${name} was taken for valid`);
      continue;
    }
    const [first] = parsed.problems;
    t.match(first, { path, line, what, write }, name);
  }
  t.end();
});
