import { libc } from './libc.js';
import { type OffThread, type Outcome, offThread } from './off-thread.js';

/**
 * Persistent reservations through the kernel's own ioctls (include/uapi/linux/pr.h), on the very nexus that
 * carries the device's data. Off the main thread: the target is asked.
 *
 * Each has a result: 0 done; above 0 what SCSI's status was (0x18 a conflict, 2 a CHECK CONDITION, which is
 * what sd_pr_command and PR_STS_IOERR both say); below 0 see errno.
 */
const IOC_PR_REGISTER = 0x401870c8;
const IOC_PR_RESERVE = 0x401070c9;
const IOC_PR_PREEMPT = 0x401870cb;
const IOC_PR_PREEMPT_ABORT = 0x401870cc;
const IOC_PR_CLEAR = 0x401070cd;
const PR_FL_IGNORE_KEY = 1;

const ioctl = libc.func(
  'int ioctl(int fd, unsigned long request, void *argument)',
) as unknown as OffThread<[fd: number, request: number, argument: Buffer]>;

/** Two keys and two words: struct pr_registration and struct pr_preempt. */
function twoKeys(one: bigint, other: bigint, word: number, flags: number): Buffer {
  const argument = Buffer.alloc(24);
  argument.writeBigUInt64LE(one, 0);
  argument.writeBigUInt64LE(other, 8);
  argument.writeUInt32LE(word, 16);
  argument.writeUInt32LE(flags, 20);
  return argument;
}

/** One key and a word: struct pr_reservation and struct pr_clear. */
function oneKey(key: bigint, word: number): Buffer {
  const argument = Buffer.alloc(16);
  argument.writeBigUInt64LE(key, 0);
  argument.writeUInt32LE(word, 8);
  return argument;
}

/** Equals: `sg_persist --out --register-ignore --param-sark=KEY --param-aptpl DEVICE`; 0n: no longer */
export function registerAndIgnore(fd: number, key: bigint): Promise<Outcome> {
  return offThread(ioctl, fd, IOC_PR_REGISTER, twoKeys(0n, key, PR_FL_IGNORE_KEY, 0));
}

/** @param type the kernel's, `enum pr_type` */
export function reserve(fd: number, key: bigint, type: number): Promise<Outcome> {
  return offThread(ioctl, fd, IOC_PR_RESERVE, oneKey(key, type));
}

/** Throws out another's key; `aborting`: with all its commands that are under way. */
export function preempt(
  fd: number,
  { key, other, type, aborting }: { key: bigint; other: bigint; type: number; aborting: boolean },
): Promise<Outcome> {
  const request = aborting ? IOC_PR_PREEMPT_ABORT : IOC_PR_PREEMPT;
  return offThread(ioctl, fd, request, twoKeys(key, other, type, 0));
}

export function clear(fd: number, key: bigint): Promise<Outcome> {
  return offThread(ioctl, fd, IOC_PR_CLEAR, oneKey(key, 0));
}
