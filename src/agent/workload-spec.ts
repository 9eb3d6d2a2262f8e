import type { ClusterConfig } from '../config/types.js';
import { lookup } from '../control/lookup.js';
import type { WorkloadSpec } from '../workload/types.js';
import type { RoleParts } from './role-parts.js';

/** What the workload of a personality stands on, on any host. Undefined: the file has no such personality. */
export function workloadSpec(
  config: ClusterConfig,
  name: string,
  epoch: number,
  { namespacePath, hostMount }: Pick<RoleParts, 'namespacePath' | 'hostMount'>,
): WorkloadSpec | undefined {
  const { personalities, volumes } = lookup(config);
  const personality = personalities.get(name);
  if (personality === undefined) return undefined;
  return {
    personality: name,
    epoch,
    namespacePath: namespacePath(name),
    mounts: personality.storage
      .filter(({ volume }) => volumes.has(volume))
      .map(({ lun, mount }) => ({ source: hostMount(name, lun), target: mount })),
    workload: personality.workload,
  };
}
