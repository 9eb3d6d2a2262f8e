import { check, libc } from './libc.js';
import { checkedOffThread, type OffThread } from './off-thread.js';

/**
 * Loop devices by ioctl (loop(4), include/uapi/linux/loop.h), without spawning losetup. All calls
 * are off the main thread: binding and unbinding ask the file behind the device, which a process
 * that may hang answers for.
 */
const LOOP_CLR_FD = 0x4c01;
const LOOP_CONFIGURE = 0x4c0a;
const LOOP_CTL_ADD = 0x4c80;
const LOOP_CTL_REMOVE = 0x4c81;

/** autoClear: the last user's close unbinds the device. */
export const loopFlags = { readOnly: 1, autoClear: 4 } as const;

/** struct loop_config: fd, block_size, struct loop_info64 (232 bytes), 8 reserved u64. */
const configLength = 4 + 4 + 232 + 64;
const infoAt = 8;
const flagsAt = infoAt + 52;
const fileNameAt = infoAt + 56;
const fileNameLength = 64;

type Ioctl<A> = OffThread<[fd: number, request: number, argument: A]>;

const ioctlNumber = libc.func(
  'int ioctl(int fd, unsigned long request, long argument)',
) as unknown as Ioctl<number>;
const ioctlPointer = libc.func(
  'int ioctl(int fd, unsigned long request, void *argument)',
) as unknown as Ioctl<Buffer>;
const makeNode = libc.func('int mknod(const char *path, uint32_t mode, uint64_t device)') as (
  path: string,
  mode: number,
  device: bigint,
) => number;

const S_IFBLK = 0o060000;
const loopMajor = 7n;

/** Makes loop device `index` exist. @throws {SystemCallError} EEXIST when it does already. */
export function addLoop(controlFd: number, index: number): Promise<void> {
  return checkedOffThread('LOOP_CTL_ADD', ioctlNumber, controlFd, LOOP_CTL_ADD, index);
}

/**
 * Makes loop device `index` vanish, with the limits set on it.
 *
 * @throws {SystemCallError} EBUSY while it is bound or open, ENODEV
 */
export function removeLoop(controlFd: number, index: number): Promise<void> {
  return checkedOffThread('LOOP_CTL_REMOVE', ioctlNumber, controlFd, LOOP_CTL_REMOVE, index);
}

export interface LoopSettings {
  /** 512..4096, that of the disk behind it. */
  readonly blockSizeBytes: number;
  readonly flags: number;
  /** Shown by losetup; the kernel does nothing with it. At most 63 bytes. */
  readonly name: string;
}

/**
 * Binds a loop device to a file, everything in one step.
 *
 * Equals: `losetup --sector-size SIZE /dev/loopN FILE`
 *
 * @throws {SystemCallError} EBUSY when it is bound already
 */
export function configureLoop(
  loopFd: number,
  fileFd: number,
  settings: LoopSettings,
): Promise<void> {
  const config = Buffer.alloc(configLength);
  config.writeUInt32LE(fileFd, 0);
  config.writeUInt32LE(settings.blockSizeBytes, 4);
  config.writeUInt32LE(settings.flags, flagsAt);
  config.write(settings.name, fileNameAt, fileNameLength - 1, 'utf8');
  return checkedOffThread('LOOP_CONFIGURE', ioctlPointer, loopFd, LOOP_CONFIGURE, config);
}

/**
 * Unbinds. While anything still has it open (a file system that is mounted somewhere) the kernel
 * does it at the last close instead.
 *
 * Equals: `losetup -d /dev/loopN`
 */
export function clearLoop(loopFd: number): Promise<void> {
  return checkedOffThread('LOOP_CLR_FD', ioctlNumber, loopFd, LOOP_CLR_FD, 0);
}

/** The device node, where nobody makes it (a /dev that is no devtmpfs). */
export function makeLoopNode(path: string, index: number): void {
  check(`mknod ${path}`, makeNode(path, S_IFBLK | 0o600, makeDevice(loopMajor, BigInt(index))));
}

/** glibc's gnu_dev_makedev (makedev(3)). */
function makeDevice(major: bigint, minor: bigint): bigint {
  return (
    (minor & 0xffn) |
    ((major & 0xfffn) << 8n) |
    ((minor & ~0xffn & 0xffffffffn) << 12n) |
    ((major & ~0xfffn & 0xffffffffn) << 32n)
  );
}
