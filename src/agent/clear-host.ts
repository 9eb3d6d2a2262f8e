import type { NetworkAdapter } from '../network/types.js';
import type { StorageAdapter } from '../storage/types.js';
import type { WorkloadAdapter } from '../workload/types.js';

export interface ClearHostParts {
  readonly workload: WorkloadAdapter;
  readonly storage: StorageAdapter;
  readonly network: NetworkAdapter;
  /** The filter of VXLAN peers leaves the host's own NIC. */
  readonly removePeerFilter: () => void;
}

/** What was taken away, by name. */
export interface Cleared {
  readonly workloads: readonly string[];
  /** `web1/0`: personality and LUN. */
  readonly volumes: readonly string[];
  readonly namespaces: readonly string[];
  readonly networks: readonly string[];
}

/**
 * Takes everything of a cluster off this host in the order of a shutdown: workloads end, volumes are
 * written back and detached, then networks go. For when the agent is away for good; pulse must still
 * hold the lease, or what is dirty reaches no disk.
 *
 * The first thing that cannot be undone ends it, with all after it untouched.
 *
 * @throws whatever an adapter throws: US_STORAGE_BUSY, US_WORKLOAD_UNIT, US_NET_REFUSED, ...
 */
export async function clearHost(parts: ClearHostParts, signal: AbortSignal): Promise<Cleared> {
  const { workload, storage, network } = parts;
  const started = [workload, storage, network];
  for (const part of started) await part.start(signal);
  try {
    const workloads = (await workload.observe(signal)).map(({ personality }) => personality);
    for (const name of workloads) await workload.remove(name, signal);
    const volumes = await storage.observe(signal);
    for (const { personality, lun } of volumes) await storage.detach(personality, lun, signal);
    const namespaces = (await network.observe(signal)).map(({ name }) => name);
    for (const name of namespaces) await network.removeNamespace(name, signal);
    const networks = await network.observeNetworks(signal);
    for (const name of networks) await network.removeNetwork(name, signal);
    parts.removePeerFilter();
    const named = volumes.map(({ personality, lun }) => `${personality}/${lun}`);
    return { workloads, volumes: named, namespaces, networks };
  } finally {
    for (const part of started) await part.stop();
  }
}
