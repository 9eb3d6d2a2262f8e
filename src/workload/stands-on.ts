import { mountedDevices, namespaceLinkOf, networkNamespaceOf } from './process-table.js';
import type { WorkloadSpec } from './types.js';

/**
 * Whether a process is in the namespace and on the mounts of today: a volume that was attached anew is
 * another mount, and who has the old one has a dead disk. True where it cannot be told, since it just ended.
 */
export function standsOn(pid: number, spec: WorkloadSpec): boolean {
  const network = networkNamespaceOf(pid);
  if (network === undefined) return true;
  if (network !== namespaceLinkOf(spec.namespacePath)) return false;
  try {
    const [here, there] = [mountedDevices('self'), mountedDevices(pid)];
    return spec.mounts.every(({ source, target }) => {
      const device = here.get(source);
      return device !== undefined && device === there.get(target);
    });
  } catch {
    return true;
  }
}
