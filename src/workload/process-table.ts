import { readdirSync, readFileSync, readlinkSync, statSync } from 'node:fs';

/** A process as proc_pid_stat(5) shows it. */
export interface ProcessStat {
  readonly pid: number;
  /** 'R', 'S', 'D', … */
  readonly state: string;
  readonly group: number;
  readonly session: number;
  /** Clock ticks since boot; with the pid it names one process and no later one. */
  readonly startTicks: string;
}

/** A process that has not ended; undefined for none, also for one that only waits to be reaped. */
export function runningProcess(pid: number): ProcessStat | undefined {
  let text: string;
  try {
    text = readFileSync(`/proc/${pid}/stat`, 'utf8');
  } catch {
    return undefined;
  }
  // The name, in parentheses, may hold anything: fields are counted from the last parenthesis.
  const fields = text.slice(text.lastIndexOf(')') + 2).split(' ');
  const [state = '', , group = '', session = ''] = fields;
  if (state === 'Z' || state === 'X') return undefined;
  const startTicks = fields[19] ?? '';
  return { pid, state, group: Number(group), session: Number(session), startTicks };
}

/** Whether this very process still runs, not another that got its number. */
export function stillRuns(process: { readonly pid: number; readonly startTicks: string }): boolean {
  return runningProcess(process.pid)?.startTicks === process.startTicks;
}

/**
 * Everything that lives in a personality: processes in its network namespace with a mount namespace
 * other than ours. That finds what left its process group, its session or its parent; what only
 * looks at the network (tcpdump under `nsenter --net`) holds no volume and is left alone.
 *
 * The namespace's file keeps it alive, so its number cannot have gone to another one meanwhile.
 */
export function inhabitants(namespacePath: string): readonly ProcessStat[] {
  const network = namespaceLinkOf(namespacePath);
  if (network === undefined) return [];
  const ourMounts = readlinkSync('/proc/self/ns/mnt');
  const found: ProcessStat[] = [];
  for (const name of readdirSync('/proc')) {
    if (!/^[0-9]+$/.test(name)) continue;
    try {
      if (readlinkSync(`/proc/${name}/ns/net`) !== network) continue;
      if (readlinkSync(`/proc/${name}/ns/mnt`) === ourMounts) continue;
    } catch {
      continue; // ended meanwhile, or a thread of the kernel
    }
    const process = runningProcess(Number(name));
    if (process !== undefined) found.push(process);
  }
  return found;
}

/** 'net:[4026532000]', as readlink(2) of /proc/PID/ns/net gives it; undefined for no such file. */
export function namespaceLinkOf(namespacePath: string): string | undefined {
  try {
    return `net:[${statSync(namespacePath).ino}]`;
  } catch {
    return undefined;
  }
}

/** The network namespace that a process is in; undefined for no such process. */
export function networkNamespaceOf(pid: number): string | undefined {
  try {
    return readlinkSync(`/proc/${pid}/ns/net`);
  } catch {
    return undefined;
  }
}

/**
 * What a process sees mounted, by mount point: '7:0/', device number and which part of it; of a device that is
 * placed on a file, '0:5/loop1700'. Reads the mount table only, so that a dead disk cannot hold it up. The last
 * mount on a point is the one that is seen.
 */
export function mountsSeen(pid: number | 'self'): ReadonlyMap<string, string> {
  const lines = readFileSync(`/proc/${pid}/mountinfo`, 'utf8').split('\n');
  return new Map(
    lines.flatMap((line): [string, string][] => {
      const [, , device, part, point] = line.split(' ');
      return point === undefined ? [] : [[unescapeOctal(point), `${device}${part}`]];
    }),
  );
}

/** mountinfo writes blanks and backslashes of a path as \040 and the like (proc_pid_mountinfo(5)). */
function unescapeOctal(text: string): string {
  return text.replace(/\\([0-7]{3})/g, (_, digits: string) =>
    String.fromCharCode(Number.parseInt(digits, 8)),
  );
}
