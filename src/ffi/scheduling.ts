import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { setPriority } from 'node:os';
import koffi from 'koffi';
import { errno, libc, SystemCallError } from './libc.js';

const SCHED_RR = 2;
const setScheduler = libc.func(
  'int sched_setscheduler(int pid, int policy, const void *param)',
) as (threadId: number, policy: number, priority: Int32Array) => number;
const mlock = libc.func('int mlock(uintptr_t address, size_t length)') as (
  address: bigint,
  length: bigint,
) => number;

/**
 * Puts every thread of this process under round-robin real-time scheduling, at the lowest
 * priority of that class: before all ordinary work, behind the kernel's own real-time threads.
 *
 * Equals: `chrt --rr --all-tasks --pid 1 PID` (sched(7)). All threads, since the main thread waits
 * for V8's helpers at each garbage collection; threads that start later inherit it.
 *
 * @throws {SystemCallError} EPERM without CAP_SYS_NICE, or where RLIMIT_RTPRIO forbids it
 */
export function scheduleRealTime(priority = 1): void {
  const param = new Int32Array([priority]);
  for (const thread of readdirSync('/proc/self/task')) {
    const result = setScheduler(Number(thread), SCHED_RR, param);
    const gone = result < 0 && koffi.errno() === errno.ESRCH;
    if (result < 0 && !gone) throw new SystemCallError('sched_setscheduler', koffi.errno());
  }
}

/** Before ordinary work (0), behind what is scheduled in real time. */
const favouredNice = -10;
/** Before all that is not. */
const urgentNice = -20;

/**
 * Lets a process go before ordinary work: every thread of it, and, where the kernel shares the
 * processors out among sessions (sched(7), autogroups), its session among the others.
 *
 * Equals: `renice -n -10 -p PID`, `echo -10 > /proc/PID/autogroup`
 *
 * @throws EACCES, EPERM without CAP_SYS_NICE
 */
export function favour(pid: number): void {
  for (const thread of readdirSync(`/proc/${pid}/task`)) setPriority(Number(thread), favouredNice);
  setSession(pid, favouredNice);
}

/**
 * Lets this thread, of a process that `favour` was called for, go before other such ones for a while, or no
 * longer. Some 50 µs.
 *
 * @throws EACCES, EPERM without CAP_SYS_NICE
 */
export function goFirst(yes: boolean): void {
  const nice = yes ? urgentNice : favouredNice;
  // 0: the calling thread (setpriority(2), under BUGS).
  setPriority(0, nice);
  setSession(process.pid, nice);
}

function setSession(pid: number, nice: number): void {
  try {
    writeFileSync(`/proc/${pid}/autogroup`, String(nice));
  } catch (thrown) {
    // A kernel without autogroups has no such file; one that has just ended no session.
    if (!['ENOENT', 'EACCES', 'EINVAL'].includes((thrown as NodeJS.ErrnoException).code ?? '')) {
      throw thrown;
    }
  }
}

/**
 * Keeps this program's code and read-only data in memory: mlock(2) of every readable mapping of a
 * file, and of the stack. About 90 MB for node, shared by all node processes that do the same.
 *
 * Not mlockall(2): V8 gives heap pages back with MADV_DONTNEED, which the kernel refuses on locked
 * memory (EINVAL, madvise(2)), and V8 then ends the process ("Check failed: 0 == ret"). The unit
 * keeps the heap out of swap instead (MemorySwapMax=0).
 *
 * @returns bytes that are locked now
 * @throws {SystemCallError} ENOMEM or EPERM where RLIMIT_MEMLOCK forbids it
 */
export function lockProgramInMemory(): number {
  let lockedBytes = 0;
  for (const line of readFileSync('/proc/self/maps', 'utf8').split('\n')) {
    const found = /^([0-9a-f]+)-([0-9a-f]+) r\S+ \S+ \S+ (\d+)\s*(.*)$/.exec(line);
    if (found === null || (found[3] === '0' && found[4] !== '[stack]')) continue;
    const start = BigInt(`0x${found[1]}`);
    const length = BigInt(`0x${found[2]}`) - start;
    if (mlock(start, length) < 0) throw new SystemCallError('mlock', koffi.errno());
    lockedBytes += Number(length);
  }
  return lockedBytes;
}
