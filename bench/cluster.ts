import type { ClusterConfig } from '../src/config/types.js';
import { assignmentKey, configKey, hostKey, reportKey, voteKey } from '../src/control/keys.js';
import type { AssignmentRecord, ReportRecord, VoteRecord } from '../src/control/records.js';

/** A cluster of any size: two personalities a host, a tenth of the hosts spare, a service in ten. */

export interface Entry {
  readonly key: string;
  readonly value: string;
  readonly modRevision: number;
}

const hostName = (index: number) => `h${index + 1}`;
const address = (net: number, index: number) => `10.${net}.${index >> 8}.${index & 255}`;
const mac = (kind: number, index: number) =>
  `02:00:0${kind}:${[index >> 16, index >> 8, index]
    .map((byte) => (byte & 255).toString(16).padStart(2, '0'))
    .join(':')}`;

export function configOfSize(hosts: number): ClusterConfig {
  const personalities = Array.from({ length: 2 * hosts }, (_, index) => ({
    name: `p${index + 1}`,
    networks: [
      {
        network: `lan${index % 4}`,
        addresses: [`${address(20 + (index % 4), index)}/16`],
        mac: mac(1, index),
      },
    ],
    routes: [],
    storage: [{ lun: 0, volume: `v${index + 1}`, mount: '/srv' }],
    workload: { kind: 'none' } as const,
    pool: 'default',
    priority: 100,
  }));
  return {
    cluster: 'bench',
    controllers: ['h1', 'h2', 'h3'],
    timing: { heartbeatMs: 50, leaseMs: 200, clockMarginPercent: 1, announceRefreshMs: 60_000 },
    fencing: { enforce: true },
    store: { endpoints: [] },
    hosts: Array.from({ length: hosts }, (_, index) => ({
      name: hostName(index),
      address: address(66, index),
      interface: 'eth1',
      pool: 'default',
      joins: [],
      capacity: null,
      power: null,
    })),
    networks: [0, 1, 2, 3].map((index) => ({
      name: `lan${index}`,
      fabric: 'vxlan' as const,
      id: 100 + index,
      subnets: [`10.${20 + index}.0.0/16`],
      mtu: 1450,
      gateways: [],
    })),
    volumes: personalities.map(({ name }, index) => ({
      name: `v${index + 1}`,
      portals: ['10.77.0.1:3260'],
      target: `iqn.2026-11.example.bench:${name}`,
      lun: 1,
      filesystem: 'ext4' as const,
      format: 'never' as const,
    })),
    personalities,
    services: Array.from({ length: Math.floor(hosts / 10) }, (_, index) => ({
      name: `s${index + 1}`,
      network: `lan${index % 4}`,
      addresses: [address(20 + (index % 4), 40_000 + index)],
      mac: mac(2, index),
      ports: [{ protocol: 'tcp' as const, first: 80, last: 80 }],
      members: [1, 5].map((offset) => ({ personality: `p${8 * index + offset}`, weight: 1 })),
      hash: 'source-ip-port' as const,
      drainMs: 300_000,
      udpStickyMs: 0,
      xdp: false,
      health: null,
      pool: 'default',
    })),
  };
}

/** What the store holds when everything runs where it was placed. */
export function entriesOf(config: ClusterConfig): Entry[] {
  const entries: Entry[] = [];
  const write = (key: string, value: object) =>
    entries.push({ key, value: JSON.stringify(value), modRevision: entries.length + 2 });
  write(configKey, { generation: 1, config });
  const busy = Math.max(3, Math.floor(config.hosts.length * 0.9));
  const held = new Map<string, string[]>();
  const roles = [
    ...config.personalities.map(({ name }) => ({ kind: 'personality', name }) as const),
    ...config.services.map(({ name }) => ({ kind: 'service', name }) as const),
  ];
  for (const [index, { kind, name }] of roles.entries()) {
    const host = hostName(index % busy);
    write(assignmentKey(kind, name), assigned(host));
    if (kind === 'personality') held.set(host, [...(held.get(host) ?? []), name]);
  }
  for (const { name } of config.hosts) {
    write(hostKey(name), { incarnation: 1, bootToken: name, enforced: true });
    write(reportKey(name), reportOn(held.get(name) ?? []));
  }
  return entries;
}

function assigned(host: string): AssignmentRecord {
  const rest = { state: 'assigned', cause: 'placed', reason: 'a spare', to: null } as const;
  return { host, incarnation: 1, epoch: 1, failover: null, ...rest };
}

/** What a host tells of itself; `detail` makes one differ from the next. */
export function reportOn(personalities: readonly string[], detail = ''): ReportRecord {
  return {
    incarnation: 1,
    personalities: personalities.map((name) => ({
      name,
      epoch: 1,
      phase: 'running',
      detail,
      volumes: [],
    })),
    services: [],
    health: [],
  };
}

/** Two of the three controllers vote these hosts out. */
export function votesAgainst(hosts: readonly string[], afterRevision: number): Entry[] {
  const vote: VoteRecord = { state: 'expired', lastAckAgoMs: 210, atMs: 1, bootId: 'boot' };
  return hosts.flatMap((host, index) =>
    ['h2', 'h3'].map((controller, which) => ({
      key: voteKey(host, 1, controller),
      value: JSON.stringify(vote),
      modRevision: afterRevision + 2 * index + which,
    })),
  );
}
