import { type FileHandle, open, readFile, writeFile } from 'node:fs/promises';
import { messageOf, UnderstudyError } from '../errors.js';
import { SystemCallError } from '../ffi/libc.js';
import {
  addLoop,
  clearLoop,
  configureLoop,
  loopFlags,
  makeLoopNode,
  removeLoop,
} from '../ffi/loop.js';

/**
 * The block device of a volume: a loop device on the disk process's export.
 *
 * Numbers from 1700 up are used, made when needed and removed afterwards: what others get from
 * LOOP_CTL_GET_FREE is always the lowest free number, so the two do not meet, and the discard
 * limit set here never sticks to a device that somebody else will use.
 */
const firstIndex = 1700;
const indexes = 256;
/** A device that udev is just looking at cannot be removed: a few more tries. */
const removeTries = 25;
const removePauseMs = 20;

export interface LoopDevice {
  readonly index: number;
  readonly path: string;
}

/** A loop device and the descriptor that keeps it bound until it is mounted. */
export interface BoundLoop extends LoopDevice {
  /** Lets go. With nothing mounted the kernel unbinds the device (LO_FLAGS_AUTOCLEAR). */
  close(): Promise<void>;
}

/**
 * Binds a free loop device to `file`, with discards off.
 *
 * Discards off, since loop(4) turns REQ_OP_WRITE_ZEROES into hole punching, which the disk process
 * answers with success and does not do: ext4 would later read old bytes where it had asked for
 * zeros. With `discard_max_bytes` 0 the driver refuses (drivers/block/loop.c, lo_fallocate) and the
 * block layer writes real zeros.
 *
 * Without direct I/O: on Linux 6.18 a fresh ext4 on a direct-I/O loop over the FUSE export has wrong
 * checksums at the first mount ("iget: checksum invalid"), each time, and none without. Nothing is
 * lost by it: FUSE without its writeback cache writes through, and a flush becomes fsync(2).
 *
 * @throws {UnderstudyError} US_STORAGE_LOOP, US_STORAGE_DISCARD
 */
export async function bindLoop(
  file: string,
  blockSizeBytes: number,
  signal: AbortSignal,
): Promise<BoundLoop> {
  const control = await opened('/dev/loop-control');
  let backing: FileHandle | undefined;
  try {
    backing = await opened(file);
    for (let index = firstIndex; index < firstIndex + indexes; index += 1) {
      signal.throwIfAborted();
      const device = await tryIndex(control.fd, backing.fd, index, file, blockSizeBytes);
      if (device === undefined) continue;
      const bound = { ...pathOf(index), close: () => device.close() };
      try {
        await forbidDiscard(index);
        return bound;
      } catch (thrown) {
        await clearLoop(device.fd).catch(() => {});
        await device.close();
        await removeLoop(control.fd, index).catch(() => {});
        throw thrown;
      }
    }
  } finally {
    await backing?.close();
    await control.close();
  }
  throw loopError(file, `all of loop${firstIndex}..${firstIndex + indexes - 1} are in use`);
}

/** Undefined when somebody else has this number. */
async function tryIndex(
  controlFd: number,
  fileFd: number,
  index: number,
  file: string,
  blockSizeBytes: number,
): Promise<FileHandle | undefined> {
  const { path } = pathOf(index);
  try {
    await addLoop(controlFd, index).catch(ignore('EEXIST'));
    const device = await openNode(path, index);
    try {
      await configureLoop(device.fd, fileFd, {
        blockSizeBytes,
        name: file.slice(-63),
        flags: loopFlags.autoClear,
      });
      return device;
    } catch (thrown) {
      await device.close();
      throw thrown;
    }
  } catch (thrown) {
    // Bound by another; or removed by another between two of these calls.
    if (['EBUSY', 'ENXIO', 'ENODEV', 'ENOENT'].some((name) => isErrno(thrown, name)))
      return undefined;
    throw loopError(file, `${path}: ${messageOf(thrown)}`);
  }
}

async function openNode(path: string, index: number): Promise<FileHandle> {
  try {
    return await open(path, 'r+');
  } catch (thrown) {
    if (!isErrno(thrown, 'ENOENT')) throw thrown;
    // No devtmpfs on /dev: nobody made the node.
    makeLoopNode(path, index);
    return open(path, 'r+');
  }
}

async function forbidDiscard(index: number): Promise<void> {
  const limit = `/sys/block/loop${index}/queue/discard_max_bytes`;
  const refuse = (cause: string, thrown?: unknown) =>
    new UnderstudyError(
      {
        code: 'US_STORAGE_DISCARD',
        action: 'cannot turn off discards of',
        object: pathOf(index).path,
        cause,
        remedy: 'let the agent see a writable /sys (in a container: mount sysfs read-write)',
      },
      { cause: thrown },
    );
  let now: string;
  try {
    await writeFile(limit, '0');
    now = (await readFile(limit, 'utf8')).trim();
  } catch (thrown) {
    throw refuse(messageOf(thrown), thrown);
  }
  if (now !== '0') throw refuse(`${limit} is ${now} after 0 was written to it`);
}

/** Path of the file a loop device is bound to; undefined when it is free or does not exist. */
export async function backingFile(index: number): Promise<string | undefined> {
  const text = await readFile(`/sys/block/loop${index}/loop/backing_file`, 'utf8').catch(
    () => undefined,
  );
  return text?.trimEnd();
}

/** `major:minor` of a loop device, as mountinfo shows it. */
export async function deviceNumber(index: number): Promise<string | undefined> {
  return (await readFile(`/sys/block/loop${index}/dev`, 'utf8').catch(() => undefined))?.trim();
}

/**
 * Unbinds the device if it is still bound to `file`, and removes it.
 *
 * @returns false when something still uses it: then the kernel unbinds it at the last close
 */
export async function releaseLoop(index: number, file: string): Promise<boolean> {
  const bound = await backingFile(index);
  // The root of a file system that is no longer mounted anywhere shows as "/".
  const ours = bound === undefined || bound === file || bound === '/';
  if (!ours) return true;
  if (bound !== undefined) {
    const device = await open(pathOf(index).path, 'r').catch(() => undefined);
    if (device !== undefined) {
      await clearLoop(device.fd).catch(ignore('ENXIO'));
      await device.close();
    }
  }
  return removed(index);
}

async function removed(index: number): Promise<boolean> {
  const control = await opened('/dev/loop-control');
  try {
    for (let tries = 0; tries < removeTries; tries += 1) {
      try {
        await removeLoop(control.fd, index);
        return true;
      } catch (thrown) {
        if (isErrno(thrown, 'ENODEV')) return true;
        if (!isErrno(thrown, 'EBUSY')) throw thrown;
      }
      await new Promise((resolve) => setTimeout(resolve, removePauseMs));
    }
    return false;
  } finally {
    await control.close();
  }
}

function pathOf(index: number): LoopDevice {
  return { index, path: `/dev/loop${index}` };
}

async function opened(path: string): Promise<FileHandle> {
  return open(path, 'r+').catch((thrown: unknown) => {
    throw loopError(path, messageOf(thrown), thrown);
  });
}

function loopError(object: string, cause: string, thrown?: unknown): UnderstudyError {
  return new UnderstudyError(
    {
      code: 'US_STORAGE_LOOP',
      action: 'cannot make a block device of',
      object,
      cause,
      remedy: 'see that the loop driver is there (modprobe loop) and /dev/loop-control is visible',
    },
    { cause: thrown },
  );
}

function isErrno(thrown: unknown, name: string): boolean {
  if (thrown instanceof SystemCallError) return thrown.errnoName === name;
  return (thrown as NodeJS.ErrnoException | undefined)?.code === name;
}

function ignore(name: string): (thrown: unknown) => void {
  return (thrown) => {
    if (!isErrno(thrown, name)) throw thrown;
  };
}
