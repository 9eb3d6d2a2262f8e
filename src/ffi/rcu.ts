import { libc } from './libc.js';

/** membarrier(2), <linux/membarrier.h>; glibc has no function for it. */
const membarrierNumbers: Readonly<Record<string, number>> = { x64: 324, arm64: 283 };
const MEMBARRIER_CMD_GLOBAL = 1;
/** Where the kernel refuses (nohz_full, a seccomp filter): far longer than a packet takes. */
const fallbackMs = 200;

const libcSyscall = libc.func(
  'intptr_t syscall(intptr_t number, intptr_t command, intptr_t flags)',
);

/**
 * Resolves when every run of a BPF network program that had begun is over, so that nothing reads what
 * was replaced before. MEMBARRIER_CMD_GLOBAL is synchronize_rcu() (kernel/sched/membarrier.c), which
 * takes some ten ms: on a thread of libuv's pool.
 */
export function runningProgramsEnded(): Promise<void> {
  return new Promise((resolve) => {
    const later = () => setTimeout(resolve, fallbackMs);
    const number = membarrierNumbers[process.arch];
    if (number === undefined) {
      later();
      return;
    }
    libcSyscall.async(number, MEMBARRIER_CMD_GLOBAL, 0, (thrown: unknown, result: number) => {
      if (thrown === null && Number(result) === 0) resolve();
      else later();
    });
  });
}
