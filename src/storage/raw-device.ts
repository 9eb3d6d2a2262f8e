import { spawn } from 'node:child_process';
import { open, writeFile } from 'node:fs/promises';
import { messageOf, UnderstudyError } from '../errors.js';
import { asIoFlusher } from '../ffi/io-flusher.js';
import { mount, mountFlags } from '../ffi/mount.js';
import { scopeWords } from '../scope.js';
import { diskScope, identifyProcess, type ProcessIdentity } from './disk-process.js';

/** A volume without a file system: its block device, at the place where others have their mount. */

/**
 * Makes the device node appear at `place`, a file that is made for it.
 *
 * Equals: `mount --bind DEVICE PLACE`
 *
 * @throws {UnderstudyError} US_STORAGE_MOUNT
 */
export async function placeDevice(device: string, place: string): Promise<void> {
  try {
    await writeFile(place, '', { flag: 'a', mode: 0o600 });
    await mount({ source: device, target: place, type: '', flags: mountFlags.bind, options: '' });
  } catch (thrown) {
    throw new UnderstudyError(
      {
        code: 'US_STORAGE_MOUNT',
        action: `cannot place ${device} at`,
        object: place,
        cause: messageOf(thrown),
        remedy: 'see the kernel log (dmesg)',
      },
      { cause: thrown },
    );
  }
}

/**
 * Keeps the device open while nobody else does: it is unbound by its last close (LO_FLAGS_AUTOCLEAR),
 * which a mounted file system would hold off, and which has to come by itself when the host loses power.
 * A process of its own, for it must outlive the agent and must not be the disk process, whose end would
 * then wait for itself.
 */
export async function holdDevice(device: string): Promise<ProcessIdentity> {
  const handle = await open(device, 'r');
  try {
    const [first = 'sleep', ...rest] = [...scopeWords(diskScope), 'sleep', 'infinity'];
    const child = asIoFlusher(() =>
      spawn(first, rest, { detached: true, stdio: [handle.fd, 'ignore', 'ignore'] }),
    );
    child.on('error', () => {});
    child.unref();
    const identity = await identifyProcess(child.pid ?? 0);
    if (identity === undefined) throw new Error(`${first} did not start`);
    return identity;
  } finally {
    await handle.close();
  }
}
