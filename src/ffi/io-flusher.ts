import { libc } from './libc.js';

const PR_SET_IO_FLUSHER = 57;
const prctl = libc.func(
  'int prctl(int option, unsigned long a, unsigned long b, unsigned long c, unsigned long d)',
) as (option: number, a: number, b: number, c: number, d: number) => number;

/**
 * Runs `start`, which spawns a process, with this thread marked as part of a block device's data
 * path (PR_SET_IO_FLUSHER, Linux 5.6). The child inherits the mark: when it allocates memory the
 * kernel does not wait for writes that only this child could carry out (prctl(2)).
 *
 * Where the kernel refuses (older, or no CAP_SYS_RESOURCE) the child is started without it.
 */
export function asIoFlusher<T>(start: () => T): T {
  const marked = prctl(PR_SET_IO_FLUSHER, 1, 0, 0, 0) === 0;
  try {
    return start();
  } finally {
    if (marked) prctl(PR_SET_IO_FLUSHER, 0, 0, 0, 0);
  }
}
