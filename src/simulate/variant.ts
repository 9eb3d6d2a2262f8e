import type { ClusterConfig, HostConfig, PersonalityConfig } from '../config/types.js';
import { Random } from './random.js';

/** Some numbers of controllers more often than others: three is what people have. */
const controllerCounts = [3, 3, 3, 3, 5, 5, 1] as const;
const usual = { heartbeatMs: 50, leaseMs: 200 } as const;
const withSlack = { heartbeatMs: 40, leaseMs: 200 } as const;
const slow = { heartbeatMs: 250, leaseMs: 1_000 } as const;
/** Five times the work of the usual one. */
const fast = { heartbeatMs: 10, leaseMs: 50 } as const;
const timings = [
  ...[usual, usual, usual, usual, withSlack, withSlack],
  ...[fast, usual, slow, slow],
] as const;

/** A small cluster made up from a seed, so that no run depends on one cluster file. */
export function variant(seed: number): ClusterConfig {
  const random = new Random(seed, 'variant');
  const controllers = random.pick(controllerCounts);
  const hosts = Math.max(controllers, 3) + random.below(3);
  const names = Array.from({ length: hosts }, (_, index) => `h${index + 1}`);
  const timing = random.pick(timings);
  const enforce = controllers > 1;
  const personalities = Array.from({ length: 1 + random.below(3) }, (_, index) =>
    personality(`p${index + 1}`, index, random.chance(0.7)),
  );
  return {
    cluster: 'sim',
    controllers: names.slice(0, controllers),
    timing: { ...timing, clockMarginPercent: 1, announceRefreshMs: 60_000 },
    fencing: { enforce },
    store: { endpoints: [] },
    hosts: names.map((name) => host(name, enforce)),
    networks: [
      {
        name: 'blue',
        fabric: 'vxlan',
        id: 100,
        subnets: ['10.10.0.0/24'],
        mtu: 1500,
        gateways: [],
      },
    ],
    volumes: personalities.map(({ name }) => ({
      name: `${name}-data`,
      portals: ['192.0.2.250:3260'],
      target: `iqn.2026-11.example.sim:${name}`,
      lun: 1,
      filesystem: 'ext4',
      format: 'if-blank',
    })),
    personalities,
    services: random.chance(0.5) ? [service(personalities)] : [],
  };
}

/** Where leases are not enforced, only power fencing lets anything be taken over. */
function host(name: string, enforce: boolean): HostConfig {
  const power = {
    agent: 'fence_simulated',
    options: {},
    passwordFile: null,
    action: 'off',
    timeoutMs: 20_000,
  } as const;
  const place = { address: '', interface: 'eth1', pool: 'default', joins: [], capacity: null };
  return { name, ...place, power: enforce ? null : power };
}

function personality(name: string, index: number, disk: boolean): PersonalityConfig {
  return {
    name,
    networks: [{ network: 'blue', addresses: [`10.10.0.${11 + index}/24`], mac: '' }],
    routes: [],
    storage: disk ? [{ lun: 0, volume: `${name}-data`, mount: '/srv' }] : [],
    workload: { kind: 'command', command: ['sleep', 'infinity'] },
    pool: 'default',
    priority: 100,
  };
}

function service(members: readonly PersonalityConfig[]): ClusterConfig['services'][number] {
  return {
    name: 'web',
    network: 'blue',
    addresses: ['10.10.0.100'],
    mac: '',
    ports: [{ protocol: 'tcp', first: 80, last: 80 }],
    members: members.map(({ name }) => ({ personality: name, weight: 1 })),
    hash: 'source-ip-port',
    drainMs: 300_000,
    udpStickyMs: 0,
    xdp: false,
    health: { tcp: 80, everyMs: 500 },
    pool: 'default',
  };
}
