import { readFileSync } from 'node:fs';
import { test } from 'tap';
import type { ClusterConfig } from '../../src/config/types.js';
import {
  allocationKey,
  configKey,
  drainedKey,
  failoverKey,
  featuresKey,
  maskKey,
  reportKey,
  stepsKey,
  volumeKey,
} from '../../src/control/keys.js';
import { statusOf } from '../../src/control/status.js';
import { configOf } from '../../src/control/view.js';
import { everyClusterCheck, hostChecks } from '../../src/doctor/checks.js';
import type {
  ClusterFacts,
  HostFacts,
  KernelFacts,
  MemberFacts,
  MemberPathFacts,
  Needs,
  PathFacts,
  UnderlayFacts,
} from '../../src/doctor/facts.js';
import type { Verdict } from '../../src/doctor/types.js';
import { clusterConfig, World, web, web1, web2 } from '../control/world.js';

const kernel: KernelFacts = {
  release: '6.1',
  ...{ vxlan: undefined, vlan: undefined, macvlan: undefined, tc: undefined, xdp: undefined },
  ...{ fuse: undefined, loop: undefined },
  bpffs: { path: '/sys/fs/bpf', mounted: true },
  modules: { iscsi_tcp: true, dm_multipath: true },
  multipathd: undefined,
  initiator: { wanted: 'user', missing: undefined },
  watchdog: true,
};
const nic: UnderlayFacts = {
  ...{ name: 'eth1', there: true, up: true, mtu: 1_600, addresses: ['10.66.0.1'] },
  ...{ wanted: '10.66.0.1', driver: 'ixgbe' },
  offloads: { txChecksum: true, largeReceive: false, vlan: true },
};
const needs: Needs = {
  ...{ fabrics: ['vxlan', 'vlan'], mtu: 1_500, volumes: true, filesystems: ['ext4'] },
  ...{ units: false, nftables: true },
};
const file = { there: true, mode: 0o600, uid: 0, sizeBytes: 45 };
const onPath: MemberPathFacts = {
  ...{ service: 'web', personality: 'web1', missing: [], answersArp: false },
  ...{ heard: true, elsewhere: [] },
};
const paths: PathFacts = {
  dispatched: [{ service: 'web', missing: [], guarded: true, by: 'bpf' }],
  members: [onPath],
  troubles: [],
};
const host: HostFacts = {
  ...{ host: 'h1', root: true, needs, kernel },
  secrets: [{ volume: 'data', trouble: undefined }],
  scripts: [{ service: 'web', program: '/usr/lib/check', trouble: undefined }],
  paths,
  sysctls: {
    'net.ipv4.conf.all.rp_filter': '0',
    'net.ipv4.conf.eth1.rp_filter': '0',
    'net.ipv4.conf.all.arp_ignore': '0',
    'net.core.bpf_jit_enable': '1',
  },
  network: { underlay: nic, sharedSubnets: [] },
  clock: { current: 'tsc', available: ['tsc', 'hpet'], architecture: 'x64' },
  limits: { openFiles: 65_536, lockedBytes: 1 << 30 },
  units: {
    ...{ systemd: true, agent: '/etc/systemd/system/a', pulse: '/etc/systemd/system/p' },
    pulseText: 'Nice=-20\nLimitMEMLOCK=infinity\nOOMScoreAdjust=-999',
  },
  files: [
    { kind: 'key', path: '/etc/understudy/cluster.key', ...file },
    { kind: 'settings', path: '/etc/understudy/agent.yaml', ...file },
    { kind: 'api', path: '/etc/understudy/api-tokens.json', ...file },
    { kind: 'certificate', path: '/etc/understudy/api.crt', ...file, daysLeft: 300 },
  ],
  programs: {
    ...{ understudy: '0.1.0', node: '20.1.0', libiscsi: undefined, libbpf: undefined },
    ...{ libbpfVersion: 'v1.1', disk: '/usr/bin/qemu-storage-daemon', diskIscsi: true },
    ...{ mkfs: ['ext4', 'xfs'], nft: '/usr/sbin/nft' },
  },
};

const withPaths = (changes: Partial<PathFacts>): HostFacts => ({
  ...host,
  paths: { ...paths, ...changes },
});
const withMember = (changes: Partial<MemberPathFacts>): HostFacts =>
  withPaths({ members: [{ ...onPath, ...changes }] });

const withKernel = (changes: Partial<KernelFacts>): HostFacts => ({
  ...host,
  kernel: { ...kernel, ...changes },
});
const withNeeds = (changes: Partial<Needs>, facts = host): HostFacts => ({
  ...facts,
  needs: { ...needs, ...changes },
});
const withNic = (changes: Partial<UnderlayFacts>): HostFacts => ({
  ...host,
  network: { ...host.network, underlay: { ...nic, ...changes } },
});
const offloads = (changes: Partial<UnderlayFacts['offloads']>) => ({
  offloads: { ...nic.offloads, ...changes },
});
const noNic: HostFacts = { ...host, network: { underlay: undefined, sharedSubnets: [] } };
const withPrograms = (changes: Partial<HostFacts['programs']>): HostFacts => ({
  ...host,
  programs: { ...host.programs, ...changes },
});
const withFile = (kind: string, changes: Partial<HostFacts['files'][number]>): HostFacts => ({
  ...host,
  files: host.files.map((one) => (one.kind === kind ? { ...one, ...changes } : one)),
});
const withClock = (changes: Partial<HostFacts['clock']>): HostFacts => ({
  ...host,
  clock: { ...host.clock, ...changes },
});
const withUnits = (changes: Partial<HostFacts['units']>): HostFacts => ({
  ...host,
  units: { ...host.units, ...changes },
});
const why = 'ENOSYS';

/** Of each check: facts that lead to a verdict other than that of a host in order. */
const hostCases: Readonly<Record<string, readonly (readonly [Verdict, HostFacts])[]>> = {
  root: [['warning', { ...host, root: false }]],
  'kernel-vxlan': [
    ['problem', withKernel({ vxlan: why })],
    ['not-applicable', withNeeds({ fabrics: ['vlan'] }, withKernel({ vxlan: why }))],
    ['warning', withNeeds({ fabrics: undefined }, withKernel({ vxlan: why }))],
  ],
  'kernel-8021q': [
    ['problem', withKernel({ vlan: why })],
    ['not-applicable', withNeeds({ fabrics: ['vxlan'] }, withKernel({ vlan: why }))],
  ],
  'kernel-macvlan': [['problem', withKernel({ macvlan: why })]],
  'kernel-bpf-tc': [['problem', withKernel({ tc: why })]],
  'kernel-bpf-xdp': [['warning', withKernel({ xdp: why })]],
  'kernel-bpffs': [
    ['warning', withKernel({ bpffs: { path: '/sys/fs/bpf', mounted: false } })],
    [
      'not-applicable',
      { ...withKernel({ bpffs: { path: '/sys/fs/bpf', mounted: false } }), host: '' },
    ],
  ],
  'kernel-fuse': [
    ['problem', withKernel({ fuse: why })],
    ['not-applicable', withNeeds({ volumes: false }, withKernel({ fuse: why }))],
    ['warning', withNeeds({ volumes: undefined }, withKernel({ fuse: why }))],
  ],
  'kernel-loop': [['problem', withKernel({ loop: why })]],
  'kernel-iscsi': [
    ['not-applicable', withKernel({ initiator: { wanted: 'user', missing: why } })],
    ['not-applicable', withKernel({ initiator: { wanted: 'auto', missing: why } })],
    ['problem', withKernel({ initiator: { wanted: 'kernel', missing: why } })],
  ],
  'kernel-multipath': [
    ['not-applicable', withKernel({ modules: { iscsi_tcp: true, dm_multipath: false } })],
    [
      'warning',
      withKernel({
        multipathd: 'find_multipaths yes',
        initiator: { wanted: 'kernel', missing: undefined },
      }),
    ],
    ['ok', withKernel({ multipathd: 'find_multipaths yes' })],
  ],
  'kernel-watchdog': [['warning', withKernel({ watchdog: false })]],
  'sysctl-rp-filter': [
    ['warning', { ...host, sysctls: { ...host.sysctls, 'net.ipv4.conf.eth1.rp_filter': '1' } }],
    ['ok', { ...host, sysctls: { ...host.sysctls, 'net.ipv4.conf.all.rp_filter': '2' } }],
  ],
  'sysctl-arp': [
    ['warning', { ...host, network: { underlay: nic, sharedSubnets: ['eth0 and eth1'] } }],
  ],
  'sysctl-bpf-jit': [
    ['warning', { ...host, sysctls: { 'net.core.bpf_jit_enable': '0' } }],
    ['not-applicable', { ...host, sysctls: {} }],
  ],
  'nic-underlay': [
    ['problem', withNic({ up: false })],
    ['problem', withNic({ there: false })],
    ['problem', withNic({ addresses: [] })],
    ['not-applicable', noNic],
  ],
  'nic-mtu': [
    ['problem', withNic({ mtu: 1_549 })],
    ['ok', withNic({ mtu: 1_550 })],
    ['problem', withNic({ mtu: 1_569, wanted: 'fd00::1' })],
    ['warning', withNeeds({ fabrics: undefined }, withNic({ mtu: 1_500 }))],
  ],
  'nic-mac-filter': [
    ['warning', withNic({ driver: 'vmxnet3' })],
    ['not-applicable', withNeeds({ fabrics: ['vxlan'] }, withNic({ driver: 'vmxnet3' }))],
  ],
  'nic-checksums': [
    ['warning', withNic({ driver: 'veth' })],
    ['not-applicable', withNic(offloads({ txChecksum: undefined }))],
  ],
  'nic-vlan-offload': [
    ['not-applicable', withNic(offloads({ vlan: undefined }))],
    ['not-applicable', withNeeds({ fabrics: ['vxlan'] })],
  ],
  'nic-lro': [
    ['problem', withNic(offloads({ largeReceive: true }))],
    ['not-applicable', withNic(offloads({ largeReceive: undefined }))],
  ],
  'clock-source': [['warning', withClock({ current: 'hpet' })]],
  'clock-tsc': [
    ['warning', withClock({ current: 'hpet', available: ['hpet', 'acpi_pm'] })],
    ['ok', withClock({ current: 'kvm-clock', available: ['kvm-clock'] })],
    ['not-applicable', withClock({ architecture: 'arm64' })],
  ],
  'limit-files': [['warning', { ...host, limits: { ...host.limits, openFiles: 1_024 } }]],
  'limit-memlock': [
    ['warning', { ...host, root: false, limits: { ...host.limits, lockedBytes: 65_536 } }],
  ],
  'units-present': [
    ['warning', withUnits({ agent: undefined })],
    ['not-applicable', withUnits({ systemd: false })],
  ],
  'units-priority': [
    ['warning', withUnits({ pulseText: 'Nice=-20' })],
    ['not-applicable', withUnits({ pulse: undefined })],
  ],
  'file-key': [
    ['problem', withFile('key', { mode: 0o640 })],
    ['problem', withFile('key', { uid: 1_000 })],
    ['problem', withFile('key', { sizeBytes: 8 })],
    ['problem', withFile('key', { there: false })],
    ['not-applicable', { ...host, files: [] }],
  ],
  'file-settings': [
    ['problem', withFile('settings', { mode: 0o666 })],
    ['ok', withFile('settings', { mode: 0o644 })],
  ],
  'file-api': [
    ['problem', withFile('api', { mode: 0o640 })],
    ['problem', withFile('api', { there: false })],
    ['not-applicable', { ...host, files: [] }],
  ],
  'api-certificate': [
    ['warning', withFile('certificate', { daysLeft: 29 })],
    ['problem', withFile('certificate', { daysLeft: -1 })],
    ['problem', { ...host, files: [{ ...file, kind: 'certificate', path: '/x' }] }],
    ['not-applicable', { ...host, files: [] }],
  ],
  'version-node': [['problem', withPrograms({ node: '18.2.0' })]],
  'version-libbpf': [['problem', withPrograms({ libbpf: why })]],
  'version-libiscsi': [
    ['problem', withPrograms({ libiscsi: why })],
    ['not-applicable', withNeeds({ volumes: false }, withPrograms({ libiscsi: why }))],
  ],
  'program-disk': [
    ['problem', withPrograms({ disk: undefined })],
    ['problem', withPrograms({ diskIscsi: false })],
  ],
  'volume-secrets': [
    ['ok', { ...host, secrets: [{ volume: 'data', trouble: undefined }] }],
    ['problem', { ...host, secrets: [{ volume: 'data', trouble: why }] }],
    ['not-applicable', { ...host, secrets: undefined }],
    ['not-applicable', { ...host, secrets: [] }],
  ],
  'health-scripts': [
    ['ok', host],
    [
      'problem',
      { ...host, scripts: [{ service: 'web', program: '/usr/lib/check', trouble: why }] },
    ],
    ['not-applicable', { ...host, scripts: undefined }],
    ['not-applicable', { ...host, scripts: [] }],
  ],
  'service-path': [
    ['ok', host],
    ...(['missing', 'guarded', 'by'] as const).map((what): [Verdict, HostFacts] => [
      'problem',
      withPaths({
        dispatched: [
          {
            service: 'web',
            missing: what === 'missing' ? ['10.10.0.100'] : [],
            guarded: what !== 'guarded',
            by: what === 'by' ? undefined : 'bpf',
          },
        ],
      }),
    ]),
    [
      'warning',
      withPaths({ dispatched: [{ service: 'web', missing: [], guarded: true, by: 'nftables' }] }),
    ],
    ['not-applicable', withPaths({ dispatched: [] })],
    ['not-applicable', withPaths({ troubles: [why] })],
    ['not-applicable', { ...host, paths: undefined }],
  ],
  'member-path': [
    ['ok', host],
    ['problem', withMember({ missing: ['10.10.0.100'] })],
    ['problem', withMember({ answersArp: true })],
    ['warning', withMember({ heard: false })],
    ['warning', withMember({ elsewhere: ['tcp/80 on 10.10.0.11, not on 10.10.0.100'] })],
    ['ok', withMember({ heard: undefined })],
    ['not-applicable', withPaths({ members: [] })],
    ['not-applicable', { ...host, paths: undefined }],
  ],
  'program-nft': [
    ['ok', host],
    ['problem', withPrograms({ nft: undefined })],
    [
      'not-applicable',
      { ...withPrograms({ nft: undefined }), needs: { ...needs, nftables: false } },
    ],
  ],
  'program-mkfs': [
    ['problem', withPrograms({ mkfs: ['xfs'] })],
    ['not-applicable', withNeeds({ filesystems: [] })],
  ],
};

const data = {
  ...{ name: 'data', portals: ['10.77.0.1:3260'], target: 'iqn.x:data', lun: 1 },
  ...{ filesystem: 'ext4' as const, format: 'never' as const },
};

function config(changes: Partial<ClusterConfig> = {}): ClusterConfig {
  const base = clusterConfig();
  return {
    ...base,
    volumes: [data],
    personalities: base.personalities.map((one) =>
      one.name === 'web1' ? { ...one, storage: [{ lun: 0, volume: 'data', mount: '/srv' }] } : one,
    ),
    ...changes,
  };
}

/** Three controllers, a spare, everything running. */
function worldInOrder(definition = config()): World {
  const world = new World(definition);
  world.write(allocationKey, { macs: {}, seeds: {} });
  world.assign(web1, 'h1');
  world.assign(web2, 'h2');
  world.assign(web, 'h2');
  for (const name of ['h1', 'h2', 'h3', 'h4']) {
    world.write(featuresKey(name), { vlan: true, kernel: '6.1', version: '0.1.0' });
    report(world, name);
  }
  world.write(maskKey(data.target), { personality: 'web1', host: 'h1', epoch: 1, initiator: 'x' });
  world.write(volumeKey('data'), { serial: 'beaf' });
  return world;
}

const running = (name: string) => ({ name, epoch: 1, phase: 'running', detail: '', volumes: [] });

function report(world: World, name: string, changes: object = {}): void {
  world.write(reportKey(name), {
    incarnation: 1,
    granting: true,
    personalities: name === 'h1' ? [running('web1')] : name === 'h2' ? [running('web2')] : [],
    services: name === 'h2' ? [running('web')] : [],
    health: [],
    ...changes,
  });
}

const member = (number: number, changes: Partial<MemberFacts> = {}): MemberFacts => ({
  ...{ endpoint: `http://10.0.0.${number}:2379`, trouble: undefined, version: '3.4.23' },
  ...{ tookMs: 2, leader: '7', databaseBytes: 1 << 20, alarms: [] },
  ...changes,
});

function cluster(world: World, changes: Partial<ClusterFacts> = {}): ClusterFacts {
  const { view } = world;
  const definition = configOf(view);
  return {
    ...{ cluster: 'demo', storeTrouble: undefined, leader: 'h1', version: '0.1.0' },
    members: [member(1), member(2), member(3)],
    transactionsMs: [3, 2, 2, 9],
    view,
    status:
      definition === undefined ? undefined : statusOf(view, definition, 'h1', () => new Map()),
    daemons: ['h1', 'h2'].map((name) => ({
      host: name,
      pulse: { trouble: undefined, leastLeftMs: 140, realTime: true },
      agent: true,
    })),
    portals: [{ portal: '10.77.0.1:3260', from: 'h1', answers: true }],
    ...changes,
  };
}

const inOrder = () => cluster(worldInOrder());
const after = (change: (world: World) => void, definition = config()) => {
  const world = worldInOrder(definition);
  change(world);
  return cluster(world);
};
const members = (...changes: readonly Partial<MemberFacts>[]) =>
  cluster(worldInOrder(), { members: changes.map((one, index) => member(index + 1, one)) });
const daemon = (pulse: ClusterFacts['daemons'][number]['pulse'], agent = true) =>
  cluster(worldInOrder(), { daemons: [{ host: 'h1', pulse, agent }] });
const lease = (leastLeftMs: number, realTime = true) =>
  daemon({ trouble: undefined, leastLeftMs, realTime });
const unreachable = cluster(worldInOrder(), {
  ...{ storeTrouble: 'no answer', view: undefined, status: undefined, transactionsMs: [] },
});
const noVolumes = () =>
  cluster(
    worldInOrder({
      ...config({ volumes: [] }),
      personalities: clusterConfig().personalities,
    }),
  );
const reserving = config({ volumes: [{ ...data, fence: 'reservation' }] });
const holding = (reservation: string) => ({
  ...running('web1'),
  volumes: [{ name: 'data', reservation }],
});
const noServices = () => cluster(worldInOrder(config({ services: [] })));
const away = { trouble: 'connection refused', leader: '0' };

const clusterCases: Readonly<Record<string, readonly (readonly [Verdict, ClusterFacts])[]>> = {
  'store-answers': [['problem', unreachable]],
  'store-members': [['problem', members({}, {}, away)]],
  'store-quorum': [
    ['problem', members({ leader: '0' }, away, away)],
    ['ok', members({}, {}, away)],
    ['warning', members({})],
  ],
  'store-latency': [
    ['problem', cluster(worldInOrder(), { transactionsMs: [120, 130, 1] })],
    ['warning', cluster(worldInOrder(), { transactionsMs: [40, 50, 1] })],
    ['not-applicable', unreachable],
  ],
  'store-alarms': [
    ['problem', members({ alarms: ['NOSPACE'] }, {}, {})],
    ['not-applicable', members(away, away, away)],
  ],
  'store-size': [['warning', members({ databaseBytes: 2 ** 31 }, {}, {})]],
  'store-versions': [['warning', members({ version: '3.5.0' }, {}, {})]],
  'cluster-defined': [
    ['problem', after((world) => world.remove('config'))],
    ['not-applicable', unreachable],
  ],
  'cluster-leader': [
    ['problem', { ...inOrder(), leader: undefined }],
    ['not-applicable', unreachable],
  ],
  'cluster-controllers': [['warning', after(() => {}, config({ controllers: ['h1'] }))]],
  'cluster-controllers-change': [
    [
      'warning',
      after((world) => {
        const controllers = { set: 1, since: 0, from: ['h1', 'h2', 'h3'] };
        const next = clusterConfig({ controllers: ['h1', 'h2', 'h4'] });
        world.write(configKey, { generation: 2, config: next, controllers });
      }),
    ],
  ],
  'cluster-granting': [['problem', after((world) => report(world, 'h3', { granting: false }))]],
  'cluster-hosts': [
    ['problem', after((world) => world.retire('h4', 1))],
    ['ok', after((world) => world.write(drainedKey('h4'), { atUnixMs: 0 }))],
  ],
  'cluster-drained': [['warning', after((world) => world.drain('h4'))]],
  'cluster-votes': [['problem', after((world) => world.vote('h4', 1, 'h2'))]],
  'cluster-spare': [
    ['warning', after((world) => ['h3', 'h4'].map((name) => world.drain(name)))],
    ['problem', after((world) => ['h2', 'h3', 'h4'].map((name) => world.drain(name)))],
  ],
  'cluster-roles': [['problem', after((world) => report(world, 'h1', { personalities: [] }))]],
  'cluster-failovers': [
    [
      'warning',
      after((world) => {
        failover(world, 'failed');
      }),
    ],
    [
      'ok',
      after((world) => {
        failover(world, 'ok');
      }),
    ],
  ],
  'cluster-fencing': [
    [
      'warning',
      after((world) => world.write('hosts/h1', { incarnation: 1, bootToken: '', enforced: false })),
    ],
  ],
  'cluster-members': [
    ['problem', after((world) => ['web1', 'web2'].map((name) => sick(world, name)))],
    ['warning', after((world) => sick(world, 'web1'))],
    ['not-applicable', noServices()],
  ],
  'service-drops': [
    ['not-applicable', after(() => {})],
    ['ok', counted({ lease: 10, 'no-member': 0 })],
    ['warning', counted({ lease: 11 })],
    ['warning', counted({ 'of a later version': 500 })],
  ],
  'cluster-together': [
    ['warning', after((world) => world.assign(web2, 'h1'))],
    ['not-applicable', noServices()],
  ],
  'cluster-versions': [
    [
      'warning',
      after((world) =>
        world.write(featuresKey('h2'), { vlan: true, kernel: '', version: '0.2.0' }),
      ),
    ],
  ],
  'cluster-vlan': [
    [
      'problem',
      after(
        (world) => world.write(featuresKey('h2'), { vlan: false, kernel: '' }),
        config({ networks: clusterConfig().networks.map((one) => ({ ...one, fabric: 'vlan' })) }),
      ),
    ],
    [
      'ok',
      after(
        () => {},
        config({ networks: clusterConfig().networks.map((one) => ({ ...one, fabric: 'vlan' })) }),
      ),
    ],
  ],
  'lease-pulse': [
    ['problem', daemon({ trouble: 'no answer' })],
    ['not-applicable', { ...inOrder(), daemons: [] }],
  ],
  'lease-agent': [['problem', daemon({ trouble: 'x' }, false)]],
  'lease-held': [
    ['problem', lease(-3)],
    ['not-applicable', daemon({ trouble: 'x' })],
  ],
  'lease-margin': [
    ['problem', lease(20)],
    ['warning', lease(70)],
    ['not-applicable', lease(0)],
  ],
  'lease-timing': [
    ['warning', after(() => {}, config({ timing: { ...config().timing, heartbeatMs: 60 } }))],
  ],
  'lease-realtime': [['warning', lease(140, false)]],
  'volume-portals': [
    [
      'problem',
      {
        ...inOrder(),
        portals: [{ portal: '10.77.0.1:3260', from: 'h1', answers: false }],
      },
    ],
    ['not-applicable', noVolumes()],
  ],
  'volume-mask': [
    ['problem', after((world) => world.assign(web1, 'h3', { epoch: 2 }))],
    [
      'problem',
      after((world) =>
        world.write(maskKey(data.target), {
          ...{ personality: 'web1', host: 'h1', epoch: 1, initiator: null, error: 'no tgtd' },
        }),
      ),
    ],
    ['not-applicable', noVolumes()],
    ['not-applicable', after(() => {}, reserving)],
  ],
  'volume-shared': [
    [
      'problem',
      after(() => {}, {
        ...config({ volumes: [data, { ...data, name: 'more', lun: 2 }] }),
        personalities: config().personalities.map((one) =>
          one.name === 'web2'
            ? { ...one, storage: [{ lun: 0, volume: 'more', mount: '/srv' }] }
            : one,
        ),
      }),
    ],
  ],
  'volume-serial': [['warning', after((world) => world.remove(volumeKey('data')))]],
  'volume-reservations': [
    ['not-applicable', noVolumes()],
    ['problem', after(() => {}, reserving)],
    ['ok', after((world) => report(world, 'h1', { personalities: [holding('0x1')] }), reserving)],
    ['problem', after((world) => world.assign(web1, 'h3', { epoch: 2 }), reserving)],
  ],
  'volume-format': [['not-applicable', noVolumes()]],
};

function sick(world: World, personality: string): void {
  const where = personality === 'web1' ? 'h1' : 'h2';
  report(world, where, { health: [{ service: 'web', personality, epoch: 1, up: false }] });
}

/** Of 1,000 packets to web. */
function counted(dropped: Readonly<Record<string, number>>): ClusterFacts {
  const traffic = [{ service: 'web', received: 1_000, forwarded: [], passed: 0, dropped }];
  return after((world) => report(world, 'h2', { traffic }));
}

function failover(world: World, outcome: 'ok' | 'failed'): void {
  world.write(failoverKey('web1-1'), {
    ...{
      id: 'web1-1',
      kind: 'personality',
      name: 'web1',
      from: 'h3',
      fromIncarnation: 1,
      to: 'h1',
    },
    ...{ epoch: 1, cause: 'lease-expired', reason: '', evidence: [], committedBy: 'h1' },
    ...{ atUnixMs: 1, zeroMs: 0, votedMs: 1, commitMs: 2, bootId: 'b' },
  });
  world.write(stepsKey('web1-1', 'owner'), {
    ...{ host: 'h1', bootId: 'b', heardMs: 3, steps: [], outcome },
  });
}

const usual = new Set<Verdict>(['ok', 'not-applicable']);

test('a host in order has neither problem nor warning', (t) => {
  for (const { id, judge } of hostChecks) t.equal(judge(host).verdict, 'ok', id);
  t.end();
});

test('a cluster in order has neither problem nor warning', (t) => {
  for (const { id, judge } of everyClusterCheck) {
    const { verdict, saw } = judge(inOrder());
    t.ok(usual.has(verdict), `${id}: ${verdict}: ${saw}`);
  }
  t.end();
});

test('why a member is down is told with it', (t) => {
  const check = everyClusterCheck.find(({ id }) => id === 'cluster-members');
  const facts = after((world) =>
    report(world, 'h1', {
      health: [
        { service: 'web', personality: 'web1', epoch: 1, up: false, why: 'HTTP status 503' },
      ],
    }),
  );
  t.match(check?.judge(facts).saw, /\(web1: HTTP status 503\)$/);
  t.end();
});

test('each check says so when it is not', (t) => {
  t.same(
    Object.keys(hostCases).sort(),
    hostChecks.map(({ id }) => id).sort(),
    'every check of a host has a case',
  );
  for (const { id, judge } of hostChecks) {
    for (const [verdict, facts] of hostCases[id] ?? []) expect(id, verdict, judge(facts));
  }
  t.same(
    Object.keys(clusterCases).sort(),
    everyClusterCheck.map(({ id }) => id).sort(),
    'every check of the cluster has a case',
  );
  for (const { id, judge } of everyClusterCheck) {
    for (const [verdict, facts] of clusterCases[id] ?? []) expect(id, verdict, judge(facts));
  }
  t.end();

  function expect(
    id: string,
    verdict: Verdict,
    finding: ReturnType<(typeof hostChecks)[0]['judge']>,
  ) {
    t.equal(finding.verdict, verdict, `${id}: ${finding.saw}`);
    const advises = verdict === 'problem' || verdict === 'warning';
    t.equal(finding.remedy !== '', advises, `${id}: advice where it is needed, and only there`);
    t.notMatch(`${finding.saw}${finding.remedy}`, /undefined|NaN|\[object/, id);
  }
});

test('docs/reference/doctor.md has a line for each check, and for nothing else', (t) => {
  const page = readFileSync(new URL('../../../docs/reference/doctor.md', import.meta.url), 'utf8');
  const documented = [...page.matchAll(/^\| `([a-z0-9-]+)` \|/gm)].map(([, id]) => id);
  t.same(
    documented,
    [...hostChecks, ...everyClusterCheck].map(({ id }) => id),
  );
  t.end();
});

test('there are at least 25 checks, and each name is one', (t) => {
  const ids = [...hostChecks, ...everyClusterCheck].map(({ id }) => id);
  t.ok(ids.length >= 25, `${ids.length}`);
  t.equal(new Set(ids).size, ids.length);
  t.end();
});
