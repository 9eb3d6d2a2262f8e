import { test } from 'tap';
import { mountPointsToKeep } from '../../src/lab/mount-points.js';
import { planLab } from '../../src/lab/plan.js';
import { startTarget } from '../../src/lab/services.js';
import { hostCables, planNetwork } from '../../src/lab/wiring.js';
import { parsed, twoHosts } from './nodes.js';

const none = { vlan: false };

function plan(change: (text: string) => string = (text) => text, features = none) {
  const { config, lab } = parsed(change(twoHosts));
  return planLab('test', config, lab, features);
}

test('a lab fills in addresses, NICs, portals, gateways and the store', (t) => {
  const { config, hosts } = plan();
  t.strictSame(
    config.hosts.map(({ address, interface: nic }) => [address, nic]),
    [
      ['10.66.0.1', 'eth1'],
      ['10.66.0.2', 'eth1'],
    ],
  );
  t.strictSame(config.volumes[0]?.portals, ['10.77.0.1:3260']);
  t.strictSame(config.store.endpoints, [
    'http://10.66.255.1:2379',
    'http://10.66.255.2:2379',
    'http://10.66.255.3:2379',
  ]);
  t.strictSame(
    config.networks.map(({ gateways }) => gateways),
    [['10.66.254.1'], ['10.66.254.2']],
  );
  t.equal(hosts[1]?.storage, '10.77.0.102');
  t.end();
});

test('addresses of the file stay where they fit, others are replaced, and it says so', (t) => {
  const made = plan((text) =>
    text
      .replace('{name: h1}', '{name: h1, address: 10.66.0.2}')
      .replace('{name: h2}', '{name: h2, address: 192.168.1.7}'),
  );
  t.strictSame(
    made.hosts.map(({ internal }) => internal),
    ['10.66.0.2', '10.66.0.1'],
  );
  t.strictSame(made.notices, ['h2 has 10.66.0.1 in this lab, not 192.168.1.7']);
  t.end();
});

test('fabric auto follows the kernel; a VLAN on a kernel without is refused', (t) => {
  const auto = (text: string) => text.replaceAll('fabric: vxlan', 'fabric: auto');
  t.strictSame(
    plan(auto).config.networks.map(({ fabric }) => fabric),
    ['vxlan', 'vxlan'],
  );
  t.match(plan(auto).notices, [/8021q/]);
  const able = plan(auto, { vlan: true });
  t.strictSame(
    able.config.networks.map(({ fabric }) => fabric),
    ['vlan', 'vlan'],
  );
  t.strictSame(
    able.config.networks.map(({ gateways }) => gateways),
    [[], []],
    'a VLAN needs no gateway',
  );
  t.strictSame(able.notices, []);
  const vlan = (text: string) => text.replaceAll('fabric: vxlan', 'fabric: vlan');
  t.throws(() => plan(vlan), { code: 'US_LAB_FABRIC' });
  t.end();
});

test('no two nodes share a MAC or a port, however long their names are', (t) => {
  const made = plan((text) =>
    text
      .replaceAll('h1', 'a-rather-long-name-of-a-host-1')
      .replaceAll('h2', 'a-rather-long-name-of-a-host-2'),
  );
  const cables = [
    ...planNetwork(made).cables,
    ...made.hosts.flatMap((host, index) => hostCables(host, index)),
  ];
  t.equal(new Set(cables.map(({ mac }) => mac)).size, cables.length);
  t.equal(new Set(cables.map(({ to }) => `${to.node} ${to.port}`)).size, cables.length);
  for (const { to, mac } of cables) {
    t.ok(to.port.length <= 15, `${to.port} fits IFNAMSIZ`);
    t.equal(Number.parseInt(mac.slice(0, 2), 16) & 3, 2, 'local, unicast');
  }
  t.end();
});

test('names that files, devices or other nodes cannot bear are refused', (t) => {
  const { config, lab } = parsed(twoHosts);
  const named = (name: string) => ({
    ...config,
    hosts: config.hosts.map((host) => ({ ...host, name })),
  });
  for (const name of ['../x', 'a b', '', 'x'.repeat(64)]) {
    t.throws(() => planLab(name, config, lab, none), { code: 'US_LAB_NAME' }, JSON.stringify(name));
  }
  for (const name of ['storage', 'ctl', 'sw', 'etcd1', 'edge-blue', '-x']) {
    t.throws(() => planLab('test', named(name), lab, none), { code: 'US_LAB_NAME' }, name);
  }
  const many = Array.from({ length: 251 }, (_, index) => ({
    ...(config.hosts[0] as (typeof config.hosts)[number]),
    name: `h${index}`,
  }));
  t.throws(() => planLab('test', { ...config, hosts: many }, lab, none), { code: 'US_LAB_SIZE' });
  t.end();
});

test('a lab takes the machine’s disks, and nobody’s mounts', (t) => {
  const line = (point: string, type: string, source: string) =>
    `30 27 0:25 / ${point} rw,relatime shared:1 - ${type} ${source} rw`;
  const mountinfo = [
    line('/', 'ext4', '/dev/sda1'),
    line('/home', 'xfs', '/dev/sdb1'),
    line('/srv/with\\040space', 'ext4', '/dev/sdc1'),
    line('/proc', 'proc', 'proc'),
    line('/sys/fs/cgroup', 'cgroup2', 'cgroup2'),
    line('/dev/shm', 'tmpfs', 'tmpfs'),
    line('/run', 'tmpfs', 'tmpfs'),
    line('/run/netns/web', 'nsfs', 'nsfs'),
    line('/tmp', 'tmpfs', 'tmpfs'),
    line('/mnt/snap', 'squashfs', '/dev/loop3'),
    line('/mnt/ssh', 'fuse.sshfs', 'host:'),
    line('/mnt/ssh', 'fuse.sshfs', 'host:'),
    line('/var/lib/docker/x/merged', 'overlay', 'overlay'),
  ].join('\n');
  const disks = ['/home', '/srv/with space', '/var/lib/docker/x/merged'];
  t.strictSame(mountPointsToKeep(mountinfo, ['/home/me/understudy']), disks);
  t.strictSame(mountPointsToKeep(mountinfo, ['/tmp/clone', '/mnt/ssh/node']), [
    '/home',
    '/srv/with space',
    '/tmp',
    '/mnt/ssh',
    '/var/lib/docker/x/merged',
  ]);
  t.end();
});

test('on LIO a target lets in nobody, one that a reservation fences everybody', (t) => {
  const groups = (change: (text: string) => string) => {
    const made = plan((text) => change(text.replace('lab:\n', 'lab:\n  target: lio\n')));
    t.equal(made.targetKind, 'lio');
    const script = startTarget('/run/lab', made);
    t.notMatch(script, /tgtd/);
    return [...script.matchAll(/echo (\d) > \S+generate_node_acls/g)].map(([, value]) => value);
  };
  t.strictSame(
    groups((text) => text),
    ['0'],
  );
  t.strictSame(
    groups((text) => text.replace('lun: 1}\nlab', 'lun: 1, fence: reservation}\nlab')),
    ['1'],
  );
  t.equal(plan().targetKind, 'tgt');
  t.end();
});
