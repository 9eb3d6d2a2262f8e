import ipaddr from 'ipaddr.js';
import { canonical } from './addresses.js';
import { dispatcherName } from './dispatchers.js';
import type { ClusterFile } from './schema.js';
import type {
  ClusterConfig,
  HealthConfig,
  LabConfig,
  PowerConfig,
  ServiceConfig,
} from './types.js';

/** A checked file in the form the rest of the code sees. */
export function normalise(file: ClusterFile): ClusterConfig {
  return {
    cluster: file.cluster,
    controllers: file.controllers,
    timing: {
      heartbeatMs: file.timing.heartbeat,
      leaseMs: file.timing.lease,
      clockMarginPercent: 1,
      announceRefreshMs: file.timing.announceRefresh,
    },
    fencing: { enforce: file.fencing.enforce ?? file.controllers.length > 1 },
    store: { endpoints: file.store.endpoints },
    hosts: file.hosts.map(({ power, capacity, ...host }) => ({
      ...host,
      address: host.address === '' ? '' : canonical(host.address),
      capacity: capacity ?? null,
      power: power === undefined ? null : normalisePower(power),
    })),
    networks: file.networks.map(({ subnet, gateways, ...network }) => ({
      ...network,
      subnets: subnet.map(canonical),
      gateways: gateways.map(canonical),
    })),
    volumes: file.volumes,
    personalities: file.personalities.map(({ workload, networks, routes, ...personality }) => ({
      ...personality,
      networks: networks.map(({ address, ...nic }) => ({
        ...nic,
        addresses: address.map(canonical),
      })),
      routes: routes.map(({ to, via }) => ({ to: canonicalRoute(to, via), via: canonical(via) })),
      workload:
        workload === undefined
          ? { kind: 'none' }
          : 'command' in workload
            ? { kind: 'command', command: workload.command }
            : { kind: 'unit', unit: workload.unit },
      ...(workload?.moveAfterFailures === undefined
        ? {}
        : { moveAfterFailures: workload.moveAfterFailures }),
    })),
    services: file.services.flatMap(normaliseService),
  };
}

/** Where each dispatcher of several decided for itself, they might hash by two functions, and have no one mapping. */
function planeOf(
  plane: ClusterFile['services'][number]['dataPlane'],
  dispatchers: unknown,
): Pick<ServiceConfig, 'dataPlane'> {
  if (plane !== 'auto') return { dataPlane: plane };
  return dispatchers === undefined ? {} : { dataPlane: 'bpf' };
}

/** As many as it has dispatchers at once. */
function normaliseService(file: ClusterFile['services'][number]): readonly ServiceConfig[] {
  const { address, ports, members, balance, health, drain, udpSticky, slowStart, ...more } = file;
  const { dataPlane, dispatchers, ...service } = more;
  const whole = {
    ...service,
    ...planeOf(dataPlane, dispatchers),
    ...(balance === 'none' ? { balance } : {}),
    ...(slowStart === undefined ? {} : { slowStartMs: slowStart }),
    addresses: address.map(canonical),
    ports: ports.map(({ protocol, port }) => ({ protocol, ...port })),
    members: members.map((member) =>
      typeof member === 'string' ? { personality: member, weight: 1 } : member,
    ),
    drainMs: drain,
    udpStickyMs: udpSticky ?? 0,
    health: health === undefined ? null : normaliseHealth(health),
  };
  if (dispatchers === undefined) return [whole];
  return dispatchers.map((nextHops, at) => ({
    ...whole,
    name: dispatcherName(service.name, at),
    group: service.name,
    nextHops: nextHops.map(canonical),
  }));
}

/** To start a program costs some ms of a CPU, a connection next to none. */
const scriptEveryMs = 2_000;
const askEveryMs = 200;

/** The checks have seen to it that there is one of the three. */
function normaliseHealth({
  tcp,
  http,
  path = '/',
  script,
  every,
  user,
}: NonNullable<ClusterFile['services'][number]['health']>): HealthConfig {
  if (script !== undefined) {
    return { script, everyMs: every ?? scriptEveryMs, ...(user === undefined ? {} : { user }) };
  }
  const everyMs = every ?? askEveryMs;
  return http === undefined ? { tcp: tcp ?? 0, everyMs } : { http, path, everyMs };
}

function normalisePower(power: NonNullable<ClusterFile['hosts'][number]['power']>): PowerConfig {
  const { timeout, passwordFile, ...rest } = power;
  return { ...rest, passwordFile: passwordFile ?? null, timeoutMs: timeout };
}

/** `default` by its family's name; host bits beyond the length are cleared, as the kernel wants it. */
function canonicalRoute(to: string, via: string): string {
  const v6 = ipaddr.parse(via).kind() === 'ipv6';
  if (to === 'default') return v6 ? '::/0' : '0.0.0.0/0';
  const length = to.split('/')[1] ?? '';
  const network = v6
    ? ipaddr.IPv6.networkAddressFromCIDR(to)
    : ipaddr.IPv4.networkAddressFromCIDR(to);
  return `${network.toString()}/${Number(length)}`;
}

export function normaliseLab(lab: NonNullable<ClusterFile['lab']>): LabConfig {
  return {
    backend: lab.backend,
    target: lab.target,
    clients: lab.clients.map(({ address, ...client }) => ({
      ...client,
      addresses: address.map(canonical),
    })),
    storage: lab.storage.map(({ target, luns }) => ({
      target,
      luns: luns.map(({ lun, size }) => ({ lun, sizeBytes: size })),
    })),
  };
}
