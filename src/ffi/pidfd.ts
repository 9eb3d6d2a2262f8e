import { closeSync } from 'node:fs';
import koffi from 'koffi';
import { check, errno, libc, SystemCallError } from './libc.js';

/**
 * A process by descriptor (pidfd_open(2), Linux 5.3): a signal sent through it reaches that process
 * or nobody, never another one that got the same number, and its end is an event.
 */
const SYS_PIDFD_SEND_SIGNAL = 424;
const SYS_PIDFD_OPEN = 434;

const syscallOpen = libc.func('long syscall(long number, int pid, uint32_t flags)') as (
  number: number,
  pid: number,
  flags: number,
) => number | bigint;
const syscallSend = libc.func(
  'long syscall(long number, int fd, int signal, void *info, uint32_t flags)',
) as (number: number, fd: number, signal: number, info: null, flags: number) => number | bigint;

/** Descriptor of a process; undefined when there is none of that number. Close with `closeSync`. */
export function openProcess(pid: number): number | undefined {
  const fd = Number(syscallOpen(SYS_PIDFD_OPEN, pid, 0));
  if (fd >= 0) return fd;
  const reason = koffi.errno();
  if (reason === errno.ESRCH) return undefined;
  throw new SystemCallError('pidfd_open', reason);
}

/** Sends a signal; false when the process has ended. */
export function signalProcess(processFd: number, signal: number): boolean {
  if (Number(syscallSend(SYS_PIDFD_SEND_SIGNAL, processFd, signal, null, 0)) >= 0) return true;
  if (koffi.errno() === errno.ESRCH) return false;
  check('pidfd_send_signal', -1);
  return false;
}

/** Waits for the process to end, at most `timeoutMs`. @returns whether it did */
export function waitForEnd(processFd: number, timeoutMs: number): Promise<boolean> {
  return new Promise((resolve) => {
    const done = (ended: boolean) => {
      clearTimeout(timer);
      handle.close();
      resolve(ended);
    };
    const timer = setTimeout(() => done(false), timeoutMs);
    const handle = koffi.node.poll(processFd, { readable: true }, () => done(true));
  });
}

export { closeSync as closeProcess };
