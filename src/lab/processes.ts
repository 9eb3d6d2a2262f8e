import { closeSync, readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { openProcess, signalProcess, waitForEnd } from '../ffi/pidfd.js';

const SIGKILL = 9;
const SIGCONT = 18;
const SIGSTOP = 19;

/** Start time of a process in clock ticks since boot (proc(5), stat field 22); undefined: gone. */
export function startTimeOf(pid: number): string | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    return fields[0] === 'Z' ? undefined : fields[19];
  } catch {
    return undefined;
  }
}

/** Kills one process for good and waits until it is gone. True when it is. */
export async function killAndWait(pid: number, timeoutMs: number): Promise<boolean> {
  const fd = openProcess(pid);
  if (fd === undefined) return true;
  try {
    if (!signalProcess(fd, SIGKILL)) return true;
    return await waitForEnd(fd, timeoutMs);
  } finally {
    closeSync(fd);
  }
}

/** Every process in the PID namespace whose first process this is, with its state letter. */
export function membersOf(initPid: number): readonly { pid: number; state: string }[] {
  const namespace = readlinkSync(`/proc/${initPid}/ns/pid`);
  return readdirSync('/proc').flatMap((name) => {
    if (!/^\d+$/.test(name)) return [];
    try {
      if (readlinkSync(`/proc/${name}/ns/pid`) !== namespace) return [];
      const stat = readFileSync(`/proc/${name}/stat`, 'utf8');
      return [{ pid: Number(name), state: stat[stat.lastIndexOf(')') + 2] ?? '?' }];
    } catch {
      return []; // it ended meanwhile
    }
  });
}

const mostRounds = 1_000;

/**
 * Stops every process of a PID namespace, again and again until none runs: they may still fork. One
 * that waits for a device ('D', whose disk process was stopped before it) has its signal pending and
 * comes back to its program only as a stopped one.
 */
export function stopAll(initPid: number): number {
  const signalled = new Set<number>();
  for (let round = 0; round < mostRounds; round++) {
    const members = membersOf(initPid);
    const running = members.filter(
      ({ pid, state }) =>
        !['T', 't', 'Z', 'X'].includes(state) && !(state === 'D' && signalled.has(pid)),
    );
    if (running.length === 0) return members.length;
    for (const { pid } of running) {
      signal(pid, SIGSTOP);
      signalled.add(pid);
    }
  }
  throw new Error(`some process of ${initPid} does not stop`);
}

/** Lets them go on, the first process last: its children are then all there. */
export function continueAll(initPid: number): number {
  const members = membersOf(initPid);
  for (const { pid } of members) if (pid !== initPid) signal(pid, SIGCONT);
  signal(initPid, SIGCONT);
  return members.length;
}

/** The first process of the PID namespace that runs `script NAME`, as this machine numbers it. */
export function findInit(script: string, name: string, below: number): number | undefined {
  const outer = readlinkSync(`/proc/${below}/ns/pid`);
  for (const entry of readdirSync('/proc')) {
    if (!/^\d+$/.test(entry)) continue;
    try {
      const argv = readFileSync(`/proc/${entry}/cmdline`, 'utf8').split('\0');
      if (argv[0] !== 'bash' || argv[1] !== script || argv[2] !== name) continue;
      const numbers = /^NSpid:\s+(.*)$/m.exec(readFileSync(`/proc/${entry}/status`, 'utf8'))?.[1];
      if (numbers?.split('\t').at(-1) !== '1') continue;
      if (readlinkSync(`/proc/${entry}/ns/pid`) !== outer) return Number(entry);
    } catch {
      // it ended meanwhile
    }
  }
  return undefined;
}

function signal(pid: number, number: number): void {
  const fd = openProcess(pid);
  if (fd === undefined) return;
  try {
    signalProcess(fd, number);
  } finally {
    closeSync(fd);
  }
}
