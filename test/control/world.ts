import type { ClusterConfig, VolumeConfig } from '../../src/config/types.js';
import {
  assignmentKey,
  configKey,
  drainedKey,
  featuresKey,
  fencedKey,
  hostKey,
  reportKey,
  retiredKey,
  voteKey,
} from '../../src/control/keys.js';
import type { AssignmentRecord, VoteRecord } from '../../src/control/records.js';
import { type Role, type View, ViewKeeper } from '../../src/control/view.js';

/** A cluster file of four hosts, two web members and their service. */
export function clusterConfig(changes: Partial<ClusterConfig> = {}): ClusterConfig {
  const host = (name: string, index: number) => ({
    name,
    address: `10.66.0.${index}`,
    interface: 'eth1',
    pool: 'default',
    joins: [],
    capacity: null,
    power: null,
  });
  const personality = (name: string, index: number) => ({
    name,
    networks: [
      { network: 'blue', addresses: [`10.10.0.1${index}/24`], mac: `02:00:00:00:00:1${index}` },
    ],
    routes: [],
    storage: [],
    workload: { kind: 'none' } as const,
    pool: 'default',
    priority: 100,
  });
  return {
    cluster: 'demo',
    controllers: ['h1', 'h2', 'h3'],
    timing: { heartbeatMs: 50, leaseMs: 200, clockMarginPercent: 1, announceRefreshMs: 60_000 },
    fencing: { enforce: true },
    store: { endpoints: [] },
    hosts: ['h1', 'h2', 'h3', 'h4'].map((name, index) => host(name, index + 1)),
    networks: [
      {
        name: 'blue',
        fabric: 'vxlan',
        id: 100,
        subnets: ['10.10.0.0/24'],
        mtu: 1500,
        gateways: ['10.66.0.250'],
      },
    ],
    volumes: [],
    personalities: [personality('web1', 1), personality('web2', 2)],
    services: [
      {
        name: 'web',
        network: 'blue',
        addresses: ['10.10.0.100'],
        mac: '02:00:00:00:01:00',
        ports: [{ protocol: 'tcp', first: 80, last: 80 }],
        members: [
          { personality: 'web1', weight: 1 },
          { personality: 'web2', weight: 1 },
        ],
        hash: 'source-ip-port',
        drainMs: 300_000,
        udpStickyMs: 0,
        xdp: false,
        health: null,
        pool: 'default',
      },
    ],
    ...changes,
  };
}

/** With a volume of this name, which this personality has as its LUN 0. */
export function withVolume(
  config: ClusterConfig,
  name: string,
  personality: string,
  changes: Partial<VolumeConfig> = {},
): ClusterConfig {
  const volume: VolumeConfig = {
    ...{ name, portals: ['10.77.0.1:3260'], target: `iqn.2026-11.test:${name}`, lun: 1 },
    ...{ filesystem: 'ext4', format: 'if-blank', fence: 'mask' },
    ...changes,
  };
  const storage = [{ lun: 0, volume: name, mount: '/srv' }];
  return {
    ...config,
    volumes: [...config.volumes, volume],
    personalities: config.personalities.map((one) =>
      one.name === personality ? { ...one, storage } : one,
    ),
  };
}

/** The store, in memory and by hand: each write takes the next revision. */
export class World {
  readonly #keeper = new ViewKeeper();
  #revision = 0;

  constructor(config: ClusterConfig = clusterConfig()) {
    this.write(configKey, { generation: 1, config });
    for (const { name } of config.hosts) this.enrol(name, 1);
  }

  get view(): View {
    return this.#keeper.view;
  }

  write(key: string, value: object): number {
    const modRevision = ++this.#revision;
    this.#keeper.apply([
      { kind: 'put', entry: { key, value: JSON.stringify(value), modRevision } },
    ]);
    return modRevision;
  }

  remove(key: string): void {
    this.#keeper.apply([{ kind: 'delete', key, revision: ++this.#revision }]);
  }

  enrol(host: string, incarnation: number, enforced = true): void {
    this.write(hostKey(host), { incarnation, bootToken: `${host}-${incarnation}`, enforced });
  }

  /** Its agent is of a version that says whether the host has held its lease, and says this. */
  tellLease(host: string, incarnation: number, leased: boolean): void {
    this.write(featuresKey(host), { vlan: true, kernel: '6.1', tellsLease: true });
    const nothing = { personalities: [], services: [], health: [] };
    this.write(reportKey(host), { incarnation, leased, ...nothing });
  }

  assign(role: Role, host: string | null, changes: Partial<AssignmentRecord> = {}): void {
    const record: AssignmentRecord = {
      host,
      incarnation: host === null ? 0 : 1,
      epoch: 1,
      state: host === null ? 'unplaced' : 'assigned',
      cause: 'placed',
      reason: '',
      to: null,
      failover: null,
      ...changes,
    };
    this.write(assignmentKey(role.kind, role.name), record);
  }

  vote(host: string, incarnation: number, controller: string, changes: Partial<VoteRecord> = {}) {
    const vote: VoteRecord = {
      state: 'expired',
      lastAckAgoMs: 210,
      atMs: 1_000,
      bootId: 'boot',
      ...changes,
    };
    return this.write(voteKey(host, incarnation, controller), vote);
  }

  retire(host: string, incarnation: number): void {
    this.write(retiredKey(host, incarnation), {});
  }

  fence(host: string, incarnation: number): void {
    this.write(fencedKey(host, incarnation), { by: 'person', atUnixMs: 0, detail: '' });
  }

  drain(host: string): void {
    this.write(drainedKey(host), { atUnixMs: 0 });
  }
}

export const web1: Role = { kind: 'personality', name: 'web1' };
export const web2: Role = { kind: 'personality', name: 'web2' };
export const web: Role = { kind: 'service', name: 'web' };
