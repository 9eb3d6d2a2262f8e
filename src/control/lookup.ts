import type {
  ClusterConfig,
  HostConfig,
  NetworkConfig,
  PersonalityConfig,
  ServiceConfig,
  VolumeConfig,
} from '../config/types.js';
import type { Role } from './view.js';

/** The parts of a cluster file by their names. */
export interface Lookup {
  readonly hosts: ReadonlyMap<string, HostConfig>;
  readonly networks: ReadonlyMap<string, NetworkConfig>;
  readonly volumes: ReadonlyMap<string, VolumeConfig>;
  readonly personalities: ReadonlyMap<string, PersonalityConfig>;
  readonly services: ReadonlyMap<string, ServiceConfig>;
  /** Services that a personality is a member of. */
  readonly servicesOf: ReadonlyMap<string, readonly ServiceConfig[]>;
  /** Personalities by falling priority, then by name; after them the dispatchers. */
  readonly roles: readonly Role[];
}

const known = new WeakMap<ClusterConfig, Lookup>();

/**
 * Worked out once for each file. With every piece of news each agent goes through all roles, and
 * searching the file for each of them made that grow with the square of the cluster.
 */
export function lookup(config: ClusterConfig): Lookup {
  const found = known.get(config) ?? index(config);
  known.set(config, found);
  return found;
}

function index(config: ClusterConfig): Lookup {
  const servicesOf = new Map<string, ServiceConfig[]>();
  for (const service of config.services) {
    for (const name of new Set(service.members.map(({ personality }) => personality))) {
      servicesOf.set(name, [...(servicesOf.get(name) ?? []), service]);
    }
  }
  const personalities = [...config.personalities].sort(
    (a, b) => b.priority - a.priority || (a.name < b.name ? -1 : 1),
  );
  return {
    hosts: byName(config.hosts),
    networks: byName(config.networks),
    volumes: byName(config.volumes),
    personalities: byName(config.personalities),
    services: byName(config.services),
    servicesOf,
    roles: [
      ...personalities.map(({ name }) => ({ kind: 'personality', name }) as const),
      ...config.services.map(({ name }) => ({ kind: 'service', name }) as const),
    ],
  };
}

function byName<T extends { readonly name: string }>(parts: readonly T[]): ReadonlyMap<string, T> {
  return new Map(parts.map((part) => [part.name, part]));
}
