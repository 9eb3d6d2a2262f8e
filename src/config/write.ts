import { stringify } from 'yaml';
import { dispatcherName, sharedName } from './dispatchers.js';
import type {
  ClusterConfig,
  HealthConfig,
  HostConfig,
  PersonalityConfig,
  ServiceConfig,
} from './types.js';

/**
 * A configuration as a cluster file again: reading that gives the same configuration. What is as it would
 * be by default is left out.
 */
export function writeClusterFile(config: ClusterConfig): string {
  return stringify(clusterFileOf(config), { lineWidth: 110, aliasDuplicateObjects: false });
}

type Fields = Readonly<Record<string, unknown>>;

function clusterFileOf(config: ClusterConfig): Fields {
  const { timing, fencing, controllers, store } = config;
  return filled({
    cluster: config.cluster,
    controllers,
    timing: {
      heartbeat: duration(timing.heartbeatMs),
      lease: duration(timing.leaseMs),
      announceRefresh: duration(timing.announceRefreshMs),
    },
    fencing: fencing.enforce === controllers.length > 1 ? undefined : { enforce: fencing.enforce },
    store: store.endpoints.length === 0 ? undefined : { endpoints: store.endpoints },
    hosts: config.hosts.map(host),
    networks: config.networks.map(({ name, fabric, id, subnets, mtu, gateways }) =>
      filled({
        name,
        fabric,
        id: id === 0 ? undefined : id,
        subnet: one(subnets),
        mtu: but(1_500, mtu),
        gateways,
      }),
    ),
    volumes: config.volumes.map((volume) =>
      filled({
        ...volume,
        filesystem: but('ext4', volume.filesystem),
        format: but('never', volume.format),
        fence: but('mask', volume.fence ?? 'mask'),
      }),
    ),
    personalities: config.personalities.map(personality),
    services: config.services.filter(isFirst).map((it) => service(it, config)),
  });
}

function host({ name, address, pool, joins, capacity, power, ...rest }: HostConfig): Fields {
  return filled({
    name,
    address: but('', address),
    interface: but('eth1', rest.interface),
    pool: pool === null ? 'none' : but('default', pool),
    joins,
    capacity: capacity ?? undefined,
    power:
      power === null
        ? undefined
        : filled({
            agent: power.agent,
            options: Object.keys(power.options).length === 0 ? undefined : power.options,
            passwordFile: power.passwordFile ?? undefined,
            action: but('off', power.action),
            timeout: duration(power.timeoutMs),
          }),
  });
}

function personality(it: PersonalityConfig): Fields {
  const { workload, moveAfterFailures } = it;
  return filled({
    name: it.name,
    networks: it.networks.map(({ network, addresses, mac }) =>
      filled({ network, address: one(addresses), mac: but('', mac) }),
    ),
    routes: it.routes,
    storage: it.storage,
    workload:
      workload.kind === 'none'
        ? undefined
        : workload.kind === 'command'
          ? filled({ command: workload.command, moveAfterFailures })
          : filled({ unit: workload.unit, moveAfterFailures }),
    pool: but('default', it.pool),
    priority: but(100, it.priority),
  });
}

/** Of the dispatchers of one service in the file. */
function isFirst({ name, group }: ServiceConfig): boolean {
  return group === undefined || name === dispatcherName(group, 0);
}

function service(it: ServiceConfig, { services }: ClusterConfig): Fields {
  const all = it.group === undefined ? [] : services.filter(({ group }) => group === it.group);
  return filled({
    name: sharedName(it),
    network: it.network,
    address: one(it.addresses),
    dispatchers: all.length === 0 ? undefined : all.map(({ nextHops = [] }) => one(nextHops)),
    mac: it.group === undefined ? but('', it.mac) : undefined,
    ports: it.ports.map(({ protocol, first, last }) => ({
      protocol,
      port: first === last ? first : `${first}-${last}`,
    })),
    members: it.members.map((member) => (member.weight === 1 ? member.personality : member)),
    hash: but('source-ip-port', it.hash),
    balance: it.balance,
    drain: duration(it.drainMs),
    udpSticky: it.udpStickyMs === 0 ? undefined : duration(it.udpStickyMs),
    slowStart: it.slowStartMs === undefined ? undefined : duration(it.slowStartMs),
    xdp: but(false, it.xdp),
    dataPlane: it.dataPlane,
    health: it.health === null ? undefined : health(it.health),
    pool: but('default', it.pool),
  });
}

function health({ everyMs, ...how }: HealthConfig): Fields {
  return { ...how, every: duration(everyMs) };
}

const duration = (ms: number): string => (ms % 1_000 === 0 ? `${ms / 1_000}s` : `${ms}ms`);
const one = <T>(list: readonly T[]): T | readonly T[] | undefined =>
  list.length === 1 ? list[0] : list;
const but = <T>(usual: T, value: T): T | undefined => (value === usual ? undefined : value);

/** Without what is not there. */
function filled(fields: Fields): Fields {
  const there = Object.entries(fields).filter(
    ([, value]) => value !== undefined && !(Array.isArray(value) && value.length === 0),
  );
  return Object.fromEntries(there);
}
