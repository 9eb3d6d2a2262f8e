import ipaddr from 'ipaddr.js';
import type { ClusterFile } from './schema.js';
import type { ClusterConfig, LabConfig } from './types.js';

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
    store: { endpoints: file.store.endpoints },
    hosts: file.hosts,
    networks: file.networks.map(({ subnet, ...network }) => ({ ...network, subnets: subnet })),
    volumes: file.volumes,
    personalities: file.personalities.map(({ workload, networks, routes, ...personality }) => ({
      ...personality,
      networks: networks.map(({ address, ...nic }) => ({ ...nic, addresses: address })),
      routes: routes.map(({ to, via }) => ({ to: canonicalRoute(to, via), via })),
      workload:
        workload === undefined
          ? { kind: 'none' }
          : 'command' in workload
            ? { kind: 'command', command: workload.command }
            : { kind: 'unit', unit: workload.unit },
    })),
    services: file.services.map(({ address, ports, members, health, ...service }) => ({
      ...service,
      addresses: address,
      ports: ports.map(({ protocol, port }) => ({ protocol, ...port })),
      members: members.map((member) =>
        typeof member === 'string' ? { personality: member, weight: 1 } : member,
      ),
      health: health === undefined ? null : { tcp: health.tcp, everyMs: health.every },
    })),
  };
}

function canonicalRoute(to: string, via: string): string {
  if (to !== 'default') return to;
  return ipaddr.parse(via).kind() === 'ipv6' ? '::/0' : '0.0.0.0/0';
}

export function normaliseLab(lab: NonNullable<ClusterFile['lab']>): LabConfig {
  return {
    backend: lab.backend,
    clients: lab.clients.map(({ address, ...client }) => ({ ...client, addresses: address })),
    storage: lab.storage.map(({ target, luns }) => ({
      target,
      luns: luns.map(({ lun, size }) => ({ lun, sizeBytes: size })),
    })),
  };
}
