import { mountUnit } from '../scope.js';
import type { WorkloadSpec } from './types.js';

/** First line of every drop-in of ours: what does not begin with it is somebody else's. */
export const dropInMark = '# Written by understudy; changes are lost.';

/**
 * The drop-in that puts a unit into its personality (systemd.exec(5)). With the condition the unit
 * cannot start outside of it either, at boot for instance.
 */
export function unitDropIn(
  spec: Pick<WorkloadSpec, 'personality' | 'namespacePath' | 'mounts'>,
): string {
  const binds = spec.mounts.map(
    ({ source, target }) => `BindPaths=${pathWord(source)}:${pathWord(target)}`,
  );
  // Stopped in the opposite order: a file system in use cannot be unmounted at shutdown.
  const order = spec.mounts.map(({ source }) => `After=${unitPath(mountUnit(source))}`);
  const conditions = spec.mounts.map(({ source }) => `AssertPathIsMountPoint=${unitPath(source)}`);
  return [
    dropInMark,
    `# It starts and stops with personality ${spec.personality}.`,
    '[Unit]',
    `AssertPathExists=${unitPath(spec.namespacePath)}`,
    ...conditions,
    ...order,
    '',
    '[Service]',
    `NetworkNamespacePath=${unitPath(spec.namespacePath)}`,
    ...binds,
    // Copies of other personalities' mounts would keep their disks in use: what the host unmounts
    // must go here too. systemd makes the host's mounts shared, so that they propagate.
    'MountFlags=slave',
    '',
  ].join('\n');
}

/** `%` begins a specifier in unit files. */
function unitPath(path: string): string {
  return path.replaceAll('%', '%%');
}

/** Inside BindPaths= a colon separates and a blank ends a word (systemd.syntax(7), quoting). */
function pathWord(path: string): string {
  const escaped = unitPath(path).replaceAll('\\', '\\\\').replaceAll(':', '\\:');
  return /[\s"']/.test(escaped) ? `"${escaped.replaceAll('"', '\\"')}"` : escaped;
}
