import { createHash } from 'node:crypto';
import { type FileHandle, open, readdir, readFile, writeFile } from 'node:fs/promises';
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
const bindTries = 8;
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

export interface LoopFormat {
  readonly blockSizeBytes: number;
  readonly readOnly: boolean;
}

/** A loop device with discards off that nothing is bound to yet. */
export interface ReservedLoop extends LoopDevice {
  /** Undefined when somebody else was faster; then this is released too. */
  bind(file: string, format: LoopFormat): Promise<BoundLoop | undefined>;
  /** Gives it back unused. Nothing to do once it is bound. */
  release(): Promise<void>;
}

/**
 * Makes a loop device ready, without binding it to anything: turning discards off waits for an RCU
 * grace period (18 ms measured), which can pass while the target is being asked.
 *
 * Discards off, since loop(4) turns REQ_OP_WRITE_ZEROES into hole punching, which the disk process
 * answers with success and does not do: ext4 would later read old bytes where it had asked for
 * zeros. With `discard_max_bytes` 0 the driver refuses (drivers/block/loop.c, lo_fallocate) and the
 * block layer writes real zeros.
 *
 * @param hint spreads concurrent callers over the numbers
 * @throws {UnderstudyError} US_STORAGE_LOOP, US_STORAGE_DISCARD
 */
export async function reserveLoop(hint: string, signal: AbortSignal): Promise<ReservedLoop> {
  const control = await opened('/dev/loop-control');
  const start = createHash('sha256').update(hint).digest().readUInt16BE(0);
  try {
    for (let step = 0; step < indexes; step += 1) {
      signal.throwIfAborted();
      const index = firstIndex + ((start + step) % indexes);
      const device = await tryOpen(control.fd, index);
      if (device === undefined) continue;
      try {
        await forbidDiscard(index);
        return new Reservation(index, device);
      } catch (thrown) {
        await device.close();
        await removeLoop(control.fd, index).catch(() => {});
        throw thrown;
      }
    }
  } finally {
    await control.close();
  }
  throw loopError(hint, `all of loop${firstIndex}..${firstIndex + indexes - 1} are in use`);
}

/**
 * Binds a free loop device to `file`, with discards off; `reserved` is tried first.
 *
 * Without direct I/O: on Linux 6.18 a fresh ext4 on a direct-I/O loop over the FUSE export has wrong
 * checksums at the first mount ("iget: checksum invalid"), each time, and none without. Nothing is
 * lost by it: FUSE without its writeback cache writes through, and a flush becomes fsync(2).
 *
 * @throws {UnderstudyError} US_STORAGE_LOOP, US_STORAGE_DISCARD
 */
export async function bindLoop(
  file: string,
  format: LoopFormat,
  signal: AbortSignal,
  reserved?: ReservedLoop,
): Promise<BoundLoop> {
  for (let tries = 0; tries < bindTries; tries += 1) {
    const candidate = (tries === 0 ? reserved : undefined) ?? (await reserveLoop(file, signal));
    const bound = await candidate.bind(file, format);
    if (bound !== undefined) return bound;
  }
  throw loopError(file, `others took the block device ${bindTries} times`);
}

class Reservation implements ReservedLoop {
  readonly index: number;
  readonly path: string;
  readonly #device: FileHandle;
  #bound = false;

  constructor(index: number, device: FileHandle) {
    this.index = index;
    this.path = pathOf(index);
    this.#device = device;
  }

  async bind(file: string, format: LoopFormat): Promise<BoundLoop | undefined> {
    const { index, path } = this;
    const { blockSizeBytes, readOnly } = format;
    const flags = loopFlags.autoClear | (readOnly ? loopFlags.readOnly : 0);
    const backing = await opened(file, readOnly ? 'r' : 'r+');
    try {
      await configureLoop(this.#device.fd, backing.fd, {
        blockSizeBytes,
        name: file.slice(-63),
        flags,
      });
      this.#bound = true;
      // Binding works out the limits anew; ours is a cap on them, and must have held.
      if ((await readLimit(index)) !== '0') await forbidDiscard(index);
      return { index, path, close: () => this.#device.close() };
    } catch (thrown) {
      if (this.#bound) await clearLoop(this.#device.fd).catch(() => {});
      this.#bound = false;
      await this.release();
      if (isTaken(thrown)) return undefined;
      throw thrown instanceof UnderstudyError
        ? thrown
        : loopError(file, `${path}: ${messageOf(thrown)}`, thrown);
    } finally {
      await backing.close();
    }
  }

  async release(): Promise<void> {
    if (this.#bound) return;
    await this.#device.close();
    await removed(this.index, 1).catch(() => false);
  }
}

/** Undefined when somebody else has this number. */
async function tryOpen(controlFd: number, index: number): Promise<FileHandle | undefined> {
  try {
    await addLoop(controlFd, index).catch(ignore('EEXIST'));
    const device = await openNode(pathOf(index), index);
    if ((await backingFile(index)) === undefined) return device;
    await device.close();
    return undefined;
  } catch (thrown) {
    if (isTaken(thrown)) return undefined;
    throw loopError(pathOf(index), messageOf(thrown), thrown);
  }
}

/** Bound by another; or removed by another between two of these calls. */
function isTaken(thrown: unknown): boolean {
  return ['EBUSY', 'ENXIO', 'ENODEV', 'ENOENT'].some((name) => isErrno(thrown, name));
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

const limitFile = (index: number) => `/sys/block/loop${index}/queue/discard_max_bytes`;

async function readLimit(index: number): Promise<string> {
  return (await readFile(limitFile(index), 'utf8')).trim();
}

async function forbidDiscard(index: number): Promise<void> {
  const limit = limitFile(index);
  const refuse = (cause: string, thrown?: unknown) =>
    new UnderstudyError(
      {
        code: 'US_STORAGE_DISCARD',
        action: 'cannot turn off discards of',
        object: pathOf(index),
        cause,
        remedy: 'let the agent see a writable /sys (in a container: mount sysfs read-write)',
      },
      { cause: thrown },
    );
  let now: string;
  try {
    await writeFile(limit, '0');
    now = await readLimit(index);
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
  return (await unbindLoop(index, file)) ? removed(index) : true;
}

/**
 * Removing the device waits in the kernel for everybody who just looks at it, 40 ms and more; with
 * nothing bound to it nobody else need wait for that. One that cannot be removed is reaped later.
 */
export async function unbindAndRemoveLater(index: number, file: string): Promise<void> {
  if (await unbindLoop(index, file)) void removed(index).catch(() => false);
}

/** @returns whether it is ours to remove */
async function unbindLoop(index: number, file: string): Promise<boolean> {
  const bound = await backingFile(index);
  // The root of a file system that is no longer mounted anywhere shows as "/".
  const ours = bound === undefined || bound === file || bound === '/';
  if (!ours) return false;
  if (bound !== undefined) {
    const device = await open(pathOf(index), 'r').catch(() => undefined);
    if (device !== undefined) {
      await clearLoop(device.fd).catch(ignore('ENXIO'));
      await device.close();
    }
  }
  return true;
}

/**
 * Removes our loop devices that nothing is bound to: those a power cut left (with namespaces as
 * hosts the kernel goes on). One that is just being bound is open, and the kernel refuses.
 */
export async function reapLoops(): Promise<void> {
  const unbound: number[] = [];
  for (const name of await readdir('/sys/block').catch(() => [])) {
    const index = Number(/^loop(\d+)$/.exec(name)?.[1] ?? -1);
    if (index < firstIndex || index >= firstIndex + indexes) continue;
    if ((await backingFile(index)) === undefined) unbound.push(index);
  }
  if (unbound.length === 0) return;
  const control = await opened('/dev/loop-control');
  try {
    for (const index of unbound) await removeLoop(control.fd, index).catch(() => {});
  } finally {
    await control.close();
  }
}

async function removed(index: number, most = removeTries): Promise<boolean> {
  const control = await opened('/dev/loop-control');
  try {
    for (let tries = 0; tries < most; tries += 1) {
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

function pathOf(index: number): string {
  return `/dev/loop${index}`;
}

async function opened(path: string, mode: 'r' | 'r+' = 'r+'): Promise<FileHandle> {
  return open(path, mode).catch((thrown: unknown) => {
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
