import { libc } from './libc.js';
import { checkedOffThread, type OffThread } from './off-thread.js';

/** ioctls of block devices (include/uapi/linux/fs.h), off the main thread: they may wait for the disk. */
const BLKROSET = 0x125d;
const BLKFLSBUF = 0x1261;

const ioctl = libc.func(
  'int ioctl(int fd, unsigned long request, void *argument)',
) as unknown as OffThread<[fd: number, request: number, argument: Buffer | null]>;

/** Equals: `blockdev --setro DEVICE`, or `--setrw` */
export function setReadOnly(fd: number, readOnly: boolean): Promise<void> {
  const value = Buffer.alloc(4);
  value.writeInt32LE(readOnly ? 1 : 0);
  return checkedOffThread('BLKROSET', ioctl, fd, BLKROSET, value);
}

/**
 * Drops what was read of the device, after it has written back what is dirty.
 *
 * Equals: `blockdev --flushbufs DEVICE`
 */
export function dropBuffers(fd: number): Promise<void> {
  return checkedOffThread('BLKFLSBUF', ioctl, fd, BLKFLSBUF, null);
}
