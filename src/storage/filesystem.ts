import { messageOf, UnderstudyError } from '../errors.js';
import { mount, mountFlags } from '../ffi/mount.js';
import { type ChildResult, runChild } from './child.js';
import { busyError, usersOf } from './holders.js';
import type { LunIdentity } from './identity.js';
import { targetFull } from './iscsi-failures.js';
import { mounts } from './mountinfo.js';
import type { AttachSpec } from './types.js';

/** Making, checking and mounting the file system of a volume. */

/** Bound on mount(2): a long journal is replayed in it. */
const mountMs = 60_000;
const mkfsMs = 600_000;
const fsckMs = 60_000;
const blkidMs = 10_000;
/** How long an orderly unmount may take to write back what is dirty. */
const flushMs = 30_000;
const unmountMs = 30_000;

type Filesystem = Exclude<AttachSpec['filesystem'], 'none'>;

/** mkfs.ext4 makes no journal on less; mkfs.xfs (6.1) refuses less. */
const smallestBytes: Readonly<Record<Filesystem, number>> = {
  ext4: 4 * 1024 * 1024,
  xfs: 300 * 1024 * 1024,
};

/**
 * mke2fs takes blocks of 1 KiB below 512 MiB (mke2fs.conf(5), `small`). jbd2 reads a journal block by block
 * (do_readahead in fs/jbd2/recovery.c: 128 KiB ahead, whatever is in it), and each is a round to the target:
 * 134 of them in a takeover, against 38 of 4 KiB. Below this size a journal of such blocks would
 * take too much of the LUN.
 */
const largeBlocksFromBytes = 64 * 1024 * 1024;

/**
 * What to do with the LUN, worked out from what was read of it. Pure.
 *
 * @throws {UnderstudyError} US_STORAGE_FILESYSTEM when it holds something else, or nothing and
 * `format` is `never`; US_STORAGE_TOO_SMALL; US_STORAGE_JOURNAL
 */
export function filesystemWork(spec: AttachSpec, lun: LunIdentity): 'mount' | 'check' | 'format' {
  // Whatever it holds is its owner's business.
  if (spec.filesystem === 'none') return 'mount';
  const { content } = lun;
  const readOnly = spec.access === 'read-only';
  if (content.kind === spec.filesystem) {
    if (content.sizeBytes > lun.sizeBytes) {
      throw tooSmall(spec, lun, `its ${content.kind} has ${content.sizeBytes} bytes`);
    }
    if (content.kind !== 'ext4') return 'mount';
    if (readOnly && content.needsRecovery) throw journalError(spec);
    return content.hasErrors && !readOnly ? 'check' : 'mount';
  }
  if (content.kind === 'unknown' && lun.blank && spec.format === 'if-blank' && !readOnly) {
    const least = smallestBytes[spec.filesystem];
    if (lun.sizeBytes < least) throw tooSmall(spec, lun, `${spec.filesystem} needs ${least}`);
    return 'format';
  }
  const holds =
    content.kind === 'unknown'
      ? 'no file system of that type, and is not blank or may not be formatted'
      : `a file system of type ${content.kind}`;
  throw filesystemError(spec, `LUN ${spec.targetLun} of ${spec.target} holds ${holds}`);
}

/**
 * Makes the file system, after blkid(8) found nothing either: between the two, hardly any kind of
 * data is taken for a blank disk.
 *
 * @param refused why the target takes no write, asked when making it failed
 * @throws {UnderstudyError} US_STORAGE_FILESYSTEM (blkid found something), US_STORAGE_TARGET_FULL,
 * US_STORAGE_FORMAT
 */
export async function format(
  spec: AttachSpec,
  { path: device, sizeBytes }: { readonly path: string; readonly sizeBytes: number },
  signal: AbortSignal,
  refused: () => Promise<string | undefined>,
  found = blkid,
): Promise<void> {
  const signature = await found(device, signal);
  if (signature !== undefined) {
    throw filesystemError(spec, `blkid finds ${signature} on it`);
  }
  const [program, ...args] =
    spec.filesystem === 'ext4'
      ? ['mkfs.ext4', '-q', '-F', ...blockSize(sizeBytes), '-E', 'nodiscard', device]
      : ['mkfs.xfs', '-q', '-K', device];
  const result = await runChild(program as string, args, { timeoutMs: mkfsMs, signal });
  if (result.code === 0) return;
  const words = result.timedOut ? undefined : await refused();
  if (words !== undefined) throw targetFull(spec.target, `it takes no write: ${words}`);
  throw new UnderstudyError({
    code: 'US_STORAGE_FORMAT',
    action: `cannot make ${spec.filesystem} on`,
    object: `${spec.volume} (${device})`,
    cause: result.timedOut ? `no end in ${mkfsMs / 1000} s` : lastWords(result.stderr, result.code),
    remedy: 'check size and health of the LUN; it may now be half formatted: clear it by hand',
  });
}

const blockSize = (sizeBytes: number): readonly string[] =>
  sizeBytes < largeBlocksFromBytes ? [] : ['-b', '4096'];

/** What blkid finds on a device, undefined for nothing. */
async function blkid(device: string, signal: AbortSignal): Promise<string | undefined> {
  const args = ['-p', '-o', 'export', device];
  const result = await runChild('blkid', args, { timeoutMs: blkidMs, signal });
  // blkid(8): 2 when no tag was found; 8 for an ambivalent result; 0 when something was found.
  if (result.code === 2 && !result.timedOut) return undefined;
  const tags = result.stdout.split('\n').filter((line) => /^(PT)?TYPE=/.test(line));
  return tags.join(' ') || `something it cannot name (exit ${result.code})`;
}

/**
 * Repairs what can be repaired without a decision. Only for a file system that says that it has
 * errors; journals are replayed by the mount.
 *
 * @throws {UnderstudyError} US_STORAGE_FSCK
 */
export async function check(spec: AttachSpec, device: string, signal: AbortSignal): Promise<void> {
  const result = await runChild('e2fsck', ['-p', device], { timeoutMs: fsckMs, signal });
  // e2fsck(8): 1 means errors were corrected.
  if ((result.code === 0 || result.code === 1) && !result.timedOut) return;
  throw new UnderstudyError({
    code: 'US_STORAGE_FSCK',
    action: 'cannot repair the file system of',
    object: `${spec.volume} (${device})`,
    cause: result.timedOut
      ? `e2fsck -p has not ended in ${fsckMs / 1000} s`
      : lastWords(result.stdout + result.stderr, result.code),
    remedy: 'run e2fsck on the LUN by hand, with the personality stopped',
  });
}

/** @throws {UnderstudyError} US_STORAGE_MOUNT with the kernel's errno */
async function mountVolume(
  type: Filesystem,
  access: AttachSpec['access'],
  device: string,
  mountPoint: string,
): Promise<void> {
  const readOnly = access === 'read-only' ? mountFlags.readOnly : 0;
  try {
    await mount({
      source: device,
      target: mountPoint,
      type,
      flags: mountFlags.noSuid | mountFlags.noDev | readOnly,
      options: type === 'ext4' ? 'errors=remount-ro' : '',
    });
  } catch (thrown) {
    throw new UnderstudyError(
      {
        code: 'US_STORAGE_MOUNT',
        action: `cannot mount ${device} at`,
        object: mountPoint,
        cause: messageOf(thrown),
        remedy:
          'see the kernel log (dmesg); a damaged file system needs e2fsck or xfs_repair by hand',
      },
      { cause: thrown },
    );
  }
}

/** mount(2) cannot be cancelled: after `mountMs` its disk is taken away, and then it fails. */
export async function mountInTime(
  { filesystem, access }: { readonly filesystem: Filesystem } & Pick<AttachSpec, 'access'>,
  device: string,
  hostMount: string,
  takeAway: () => void,
): Promise<void> {
  let expired = false;
  const expiry = setTimeout(() => {
    expired = true;
    takeAway();
  }, mountMs);
  try {
    await mountVolume(filesystem, access, device, hostMount);
  } catch (thrown) {
    if (!expired) throw thrown;
    throw new UnderstudyError(
      {
        code: 'US_STORAGE_MOUNT',
        action: `cannot mount ${device} at`,
        object: hostMount,
        cause: `no end in ${mountMs / 1000} s`,
        remedy: 'see that the target answers, and how long its disks take',
      },
      { cause: thrown },
    );
  } finally {
    clearTimeout(expiry);
  }
}

/**
 * Writes back what is dirty and has the target flush it; tells when that failed, which umount(2)
 * does not. In a child: this waits for the disk, and a thread of ours that waited for a dead one
 * would be lost to all other work.
 *
 * Equals: `sync --file-system MOUNTPOINT` (syncfs(2) reports errors since Linux 5.8); of a device alone
 * `sync DEVICE`
 *
 * @throws {UnderstudyError} US_STORAGE_FLUSH: the volume is still attached
 */
export async function flushVolume(
  mountPoint: string,
  what: 'file system' | 'device',
  signal: AbortSignal,
): Promise<void> {
  const args = [...syncOptions[what], mountPoint];
  const result = await runChild('sync', args, { timeoutMs: flushMs, signal });
  if (result.code !== 0) throw flushError(mountPoint, result);
}

const syncOptions = { device: [], 'file system': ['-f'] } as const;

function flushError(mountPoint: string, result: ChildResult): UnderstudyError {
  return new UnderstudyError({
    code: 'US_STORAGE_FLUSH',
    action: 'cannot write back',
    object: mountPoint,
    cause: result.timedOut
      ? `it has not ended in ${flushMs / 1000} s: the target does not answer`
      : lastWords(result.stderr, result.code),
    remedy: 'bring the target back, or let the epoch go: an abort gives up what is not yet written',
  });
}

/** A child of a large process takes milliseconds to make, and an outage waits for it: one for both. */
const flushThenUnmount = 'sync "$@" || exit; echo flushed; shift $(($# - 1)); exec umount -n "$1"';

/**
 * Flushes as `flushVolume` and unmounts, both in a child.
 *
 * @throws {UnderstudyError} US_STORAGE_FLUSH, US_STORAGE_BUSY (and who), US_STORAGE_UNMOUNT
 */
export async function unmountVolume(
  mountPoint: string,
  what: 'file system' | 'device',
  signal: AbortSignal,
): Promise<void> {
  const args = ['-c', flushThenUnmount, 'sh', ...syncOptions[what], mountPoint];
  const result = await runChild('sh', args, { timeoutMs: flushMs + unmountMs, signal });
  if (result.code === 0) return;
  if (!result.stdout.includes('flushed')) throw flushError(mountPoint, result);
  if (!(await mounts()).some((found) => found.mountPoint === mountPoint)) return;
  const holders = await usersOf(mountPoint);
  if (holders.length > 0 || /busy/.test(result.stderr)) throw busyError(mountPoint, holders);
  throw new UnderstudyError({
    code: 'US_STORAGE_UNMOUNT',
    action: 'cannot unmount',
    object: mountPoint,
    cause: result.timedOut
      ? `it has not ended in ${unmountMs / 1000} s: the target does not answer`
      : lastWords(result.stderr, result.code),
    remedy: 'bring the target back, or let the epoch go: an abort gives up what is not yet written',
  });
}

function filesystemError(spec: AttachSpec, cause: string): UnderstudyError {
  return new UnderstudyError({
    code: 'US_STORAGE_FILESYSTEM',
    action: `cannot use ${spec.filesystem} of volume`,
    object: `${spec.volume} of ${spec.personality}`,
    cause,
    remedy:
      'correct filesystem: of the volume; or, if what it holds may go, clear the LUN and write format: if-blank',
  });
}

function tooSmall(spec: AttachSpec, lun: LunIdentity, cause: string): UnderstudyError {
  return new UnderstudyError({
    code: 'US_STORAGE_TOO_SMALL',
    action: 'cannot use',
    object: `LUN ${spec.targetLun} of ${spec.target} as volume ${spec.volume}`,
    cause: `it has ${lun.sizeBytes} bytes; ${cause}`,
    remedy: 'make the LUN larger; nothing was written to it',
  });
}

function journalError(spec: AttachSpec): UnderstudyError {
  return new UnderstudyError({
    code: 'US_STORAGE_JOURNAL',
    action: 'cannot use read-only',
    object: `${spec.volume} of ${spec.personality}`,
    cause: 'it was not unmounted in order, and replaying its journal would write to it',
    remedy: 'mount it once where it may be written to, and unmount it in order',
  });
}

function lastWords(output: string, code: number | null): string {
  return output.trim().split('\n').slice(-2).join(' ') || `exit ${code}`;
}
