import { readFileSync, readlinkSync, realpathSync } from 'node:fs';
import { mountsSeen, namespaceLinkOf, networkNamespaceOf } from './process-table.js';
import type { WorkloadSpec } from './types.js';

/**
 * Whether a process is in the namespace and on the mounts of today: a volume that was attached anew is
 * another mount, and who has the old one has a dead disk. True where it cannot be told, since it just ended,
 * is not what it is to be yet, or has gone where it sees none of them.
 */
export function standsOn(pid: number, spec: WorkloadSpec): boolean {
  const network = networkNamespaceOf(pid);
  if (network === undefined || isNotYetItself(pid)) return true;
  if (network !== namespaceLinkOf(spec.namespacePath)) return false;
  try {
    const [here, there] = [mountsSeen('self'), mountsSeen(pid)];
    const root = readlinkSync(`/proc/${pid}/root`);
    return spec.mounts.every(({ source, target }) => {
      const today = here.get(source);
      if (today === undefined) return false;
      const paths = pathsBelow(root, target);
      return paths.length === 0 || paths.some((path) => there.get(path) === today);
    });
  } catch {
    return true;
  }
}

/**
 * A unit is active from when systemd has forked: the child goes into its namespaces only after that, under the
 * name of its program in parentheses until it executes it (systemd's exec_child(), src/core/execute.c).
 */
function isNotYetItself(pid: number): boolean {
  try {
    return readFileSync(`/proc/${pid}/comm`, 'utf8').startsWith('(');
  } catch {
    return true;
  }
}

/**
 * How the mount table of a process names a mount point: below its root (chroot(2)), and with no symbolic link.
 * None: it is out of its sight.
 */
function pathsBelow(root: string, target: string): readonly string[] {
  const paths = [target, withoutLinks(target)];
  if (root === '/') return paths;
  return paths.filter((path) => path.startsWith(`${root}/`)).map((path) => path.slice(root.length));
}

/** As the host has it, where no volume is mounted: a dead disk holds up nobody. */
function withoutLinks(path: string): string {
  try {
    return realpathSync(path);
  } catch {
    return path;
  }
}
