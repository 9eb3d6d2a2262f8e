import type { ClusterConfig } from '../../config/types.js';
import type { World } from '../world.js';

/** A role as it can be seen from outside: its MACs on the wire, its targets on the storage network. */
export interface SeenRole {
  readonly id: string;
  /** Namespace without `us-`. */
  readonly namespace: string;
  readonly macs: readonly string[];
  readonly targets: readonly string[];
  readonly pool: string;
  readonly personality: boolean;
}

export function rolesOf(config: ClusterConfig): readonly SeenRole[] {
  const personalities = config.personalities.map((personality) => ({
    id: `personality/${personality.name}`,
    namespace: personality.name,
    macs: personality.networks.map(({ mac }) => mac),
    targets: personality.storage.flatMap(({ volume }) =>
      config.volumes.filter(({ name }) => name === volume).map(({ target }) => target),
    ),
    pool: personality.pool,
    personality: true,
  }));
  const services = config.services.map((service) => ({
    id: `service/${service.name}`,
    namespace: `svc-${service.name}`,
    macs: [service.mac],
    targets: [],
    pool: service.pool,
    personality: false,
  }));
  return [...personalities, ...services];
}

/** A host on which one MAC lives at this instant. */
export interface Presence {
  readonly host: string;
  readonly epoch: number;
  readonly incarnation: number;
}

/** Where frames with this MAC come from now: any NIC whose guard lets them pass. */
export function presences(world: World, mac: string): readonly Presence[] {
  const found: Presence[] = [];
  for (const host of world.hosts.values()) {
    if (!host.up) continue;
    for (const nic of host.kernel.nics()) {
      if (nic.mac !== mac || !host.kernel.passes(nic)) continue;
      found.push({ host: host.name, epoch: nic.epoch, incarnation: nic.incarnation });
    }
  }
  return found;
}

/** Data paths whose writes the target would carry out now. */
export function writers(world: World, target: string) {
  const found: { readonly host: string; readonly epoch: number; readonly mounted: boolean }[] = [];
  for (const host of world.hosts.values()) {
    if (!host.up) continue;
    for (const path of host.kernel.paths.values()) {
      if (path.target !== target) continue;
      if (!world.accepts(host.name, target, path.initiator)) continue;
      found.push({ host: host.name, epoch: path.epoch, mounted: path.mounted });
    }
  }
  return found;
}

/** The one host on which the whole role works: frames pass, disks are mounted, the workload runs. */
export function workingOn(world: World, role: SeenRole): string | undefined {
  const [first, ...rest] = role.macs.map((mac) => presences(world, mac)[0]);
  if (first === undefined || rest.some((other) => other?.host !== first.host)) return undefined;
  const disks = role.targets.every((target) =>
    writers(world, target).some(({ host, epoch, mounted }) => {
      return host === first.host && epoch === first.epoch && mounted;
    }),
  );
  if (!disks) return undefined;
  if (!role.personality) return first.host;
  const workload = world.host(first.host).kernel.workloads.get(role.namespace);
  return workload?.epoch === first.epoch ? first.host : undefined;
}
