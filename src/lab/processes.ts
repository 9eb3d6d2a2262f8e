import { closeSync, readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { openProcess, signalProcess, waitForEnd } from '../ffi/pidfd.js';

export const signals = { kill: 9, terminate: 15, continue: 18, stop: 19 } as const;

/** A process by number and start time, so that a later one of the same number is not meant. */
export interface ProcessId {
  readonly pid: number;
  /** In clock ticks since boot (proc_pid_stat(5), field 22). */
  readonly startTime: string;
}

/** Undefined when there is no such process, or only what is left of one. */
export function startTimeOf(pid: number): string | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    return fields[0] === 'Z' || fields[0] === 'X' ? undefined : fields[19];
  } catch {
    return undefined;
  }
}

export function isAlive({ pid, startTime }: ProcessId): boolean {
  return startTimeOf(pid) === startTime;
}

/**
 * Signals exactly this process: the descriptor is opened before the start time is compared, and
 * holds on to what it was opened for. False when it is gone.
 */
export function signalExactly(id: ProcessId, signal: number): boolean {
  const fd = openProcess(id.pid);
  if (fd === undefined) return false;
  try {
    return isAlive(id) && signalProcess(fd, signal);
  } finally {
    closeSync(fd);
  }
}

/**
 * Kills a PID namespace's first process and waits for its end, which comes when every process of the
 * namespace has ended (kernel/pid_namespace.c, zap_pid_ns_processes). True when it is gone.
 */
export async function killAndWait(id: ProcessId, timeoutMs: number): Promise<boolean> {
  const fd = openProcess(id.pid);
  if (fd === undefined) return true;
  try {
    if (!isAlive(id) || !signalProcess(fd, signals.kill)) return true;
    return await waitForEnd(fd, timeoutMs);
  } finally {
    closeSync(fd);
  }
}

export interface Member {
  readonly pid: number;
  /** State letter of proc_pid_stat(5). */
  readonly state: string;
}

/** Every process in the PID namespace whose first process this is, by our own numbers. */
export function membersOf(initPid: number): readonly Member[] {
  const namespace = namespaceOf(initPid);
  if (namespace === undefined) return [];
  return readdirSync('/proc').flatMap((name) => {
    if (!/^\d+$/.test(name) || namespaceOf(Number(name)) !== namespace) return [];
    try {
      const stat = readFileSync(`/proc/${name}/stat`, 'utf8');
      return [{ pid: Number(name), state: stat[stat.lastIndexOf(')') + 2] ?? '?' }];
    } catch {
      return []; // it ended meanwhile
    }
  });
}

function namespaceOf(pid: number): string | undefined {
  try {
    return readlinkSync(`/proc/${pid}/ns/pid`);
  } catch {
    return undefined;
  }
}

/**
 * State letters of all processes that a host's own /proc shows: also of those in namespaces below its
 * own, which a workload may have made.
 */
export function statesInside(initPid: number): readonly string[] {
  const proc = `/proc/${initPid}/root/proc`;
  return readdirSync(proc).flatMap((name) => {
    if (!/^\d+$/.test(name)) return [];
    try {
      const stat = readFileSync(`${proc}/${name}/stat`, 'utf8');
      return [stat[stat.lastIndexOf(')') + 2] ?? '?'];
    } catch {
      return [];
    }
  });
}

/** A process by the number that its own PID namespace gives it; undefined when there is none. */
export function memberNumbered(initPid: number, number: number): ProcessId | undefined {
  for (const { pid } of membersOf(initPid)) {
    const startTime = startTimeOf(pid);
    if (startTime !== undefined && innermostNumber(pid) === number) return { pid, startTime };
  }
  return undefined;
}

/** The last of `NSpid` (proc_pid_status(5)). */
function innermostNumber(pid: number): number | undefined {
  try {
    const [, numbers = ''] =
      /^NSpid:(.*)$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8')) ?? [];
    return Number(numbers.trim().split(/\s+/).at(-1));
  } catch {
    return undefined; // it ended meanwhile
  }
}
