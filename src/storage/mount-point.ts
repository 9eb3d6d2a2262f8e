import { mkdirSync } from 'node:fs';
import { rmdir, unlink } from 'node:fs/promises';
import { dirname } from 'node:path';
import { messageOf } from '../errors.js';
import { SystemCallError } from '../ffi/libc.js';
import { unmount, unmountFlags } from '../ffi/mount.js';
import { unmountVolume } from './filesystem.js';
import { mounts } from './mountinfo.js';
import type { Layout, VolumeId } from './state.js';
import type { AttachSpec } from './types.js';

/** Where a volume appears on the host: made before it is mounted, removed after. */

/** The same place mounted over more than once: each layer is one unmount. */
const maxLayers = 8;

export function makePlace(layout: Layout, spec: AttachSpec): void {
  const place = layout.hostMount(spec);
  // A device node appears on a file.
  mkdirSync(spec.filesystem === 'none' ? dirname(place) : place, { recursive: true, mode: 0o700 });
}

async function isMountPoint(path: string): Promise<boolean> {
  return (await mounts()).some(({ mountPoint }) => mountPoint === path);
}

/**
 * In order, whatever is mounted there.
 *
 * @throws {UnderstudyError} US_STORAGE_FLUSH, US_STORAGE_BUSY, US_STORAGE_UNMOUNT
 */
export async function unmountLayers(
  path: string,
  what: 'file system' | 'device',
  signal: AbortSignal,
): Promise<void> {
  for (let layer = 0; layer < maxLayers; layer += 1) {
    if (!(await isMountPoint(path))) break;
    await unmountVolume(path, what, signal);
  }
}

/** Unmounts everything at a place, lazily. Only for what has no data path any more. */
export async function detachMounts(path: string): Promise<void> {
  for (let layer = 0; layer < maxLayers && (await isMountPoint(path)); layer += 1) {
    await unmount(path, unmountFlags.detach).catch((thrown: unknown) => {
      // EINVAL: somebody else was faster.
      if (!(thrown instanceof SystemCallError && thrown.errnoName === 'EINVAL')) throw thrown;
    });
  }
}

export async function removePlace(layout: Layout, id: VolumeId): Promise<void> {
  const path = layout.hostMount(id);
  for (const folder of [path, dirname(path), dirname(layout.directory(id))]) {
    await rmdir(folder).catch(async (thrown: NodeJS.ErrnoException) => {
      // The place of a device node is a file.
      if (thrown.code === 'ENOTDIR') return unlink(folder);
      if (thrown.code === 'ENOENT' || thrown.code === 'ENOTEMPTY') return;
      throw new Error(`cannot remove ${folder}: ${messageOf(thrown)}`);
    });
  }
}
