import { setTimeout as sleep } from 'node:timers/promises';
import { UnderstudyError } from '../errors.js';
import { inhabitants, type ProcessStat, runningProcess, stillRuns } from './process-table.js';
import type { WorkloadRecord } from './record.js';

const firstLookMs = 5;
/** A look reads a few links for each process of the host: about 2 ms. */
const longestLookMs = 80;
/** How long a killed process may take to be gone; one that waits for a dead disk takes longer. */
const killMs = 3_000;

/**
 * SIGTERM to all that lives in the personality, after `graceMs` SIGKILL; returns when nothing of it
 * is left. With `graceMs` 0, SIGKILL at once.
 *
 * @throws US_WORKLOAD_STUCK when something outlives SIGKILL: it waits for a device.
 */
export async function endAll(record: WorkloadRecord, graceMs: number): Promise<void> {
  if (graceMs > 0) {
    send(record, 'SIGTERM');
    if (await gone(record, graceMs, undefined)) return;
  }
  // Sent again and again: a process may fork between the look and the signal.
  if (await gone(record, killMs, 'SIGKILL')) return;
  const pids = remaining(record).map(({ pid, state }) => `${pid} (${state})`);
  throw new UnderstudyError({
    code: 'US_WORKLOAD_STUCK',
    action: 'cannot end the workload of',
    object: record.spec.personality,
    cause: `after SIGKILL there is still process ${pids.join(', ')}`,
    remedy: 'state D waits for a disk: abort its data path; if that does not help, reset the host',
  });
}

/** After the leader's end: SIGKILL to what it left behind in its session, which may hold its ports. */
export async function endSession(record: WorkloadRecord): Promise<void> {
  const leader = record.process?.pid;
  const left = () =>
    inhabitants(record.spec.namespacePath).filter(({ session }) => session === leader);
  const endMs = performance.now() + killMs;
  while (left().length > 0 && performance.now() < endMs) {
    for (const { pid } of left()) signalOne(pid, 'SIGKILL');
    // They are no children of ours: nothing tells us when they have ended.
    await sleep(longestLookMs);
  }
}

async function gone(
  record: WorkloadRecord,
  limitMs: number,
  signal: NodeJS.Signals | undefined,
): Promise<boolean> {
  const endMs = performance.now() + limitMs;
  let pauseMs = firstLookMs;
  while (remaining(record).length > 0) {
    if (performance.now() >= endMs) return false;
    if (signal !== undefined) send(record, signal);
    // Not our children in general, and many: looked for, there is no one event for it.
    await sleep(pauseMs);
    pauseMs = Math.min(longestLookMs, pauseMs * 2);
  }
  return true;
}

function send(record: WorkloadRecord, signal: NodeJS.Signals): void {
  const leader = record.process;
  // Its whole process group first, in one step; the number is its own as long as it runs.
  if (leader !== null && stillRuns(leader)) signalOne(-leader.pid, signal);
  for (const { pid, group } of remaining(record)) {
    if (leader === null || group !== leader.pid) signalOne(pid, signal);
  }
}

/** A negative pid means a process group (kill(2)). */
function signalOne(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal);
  } catch {
    // ended meanwhile
  }
}

/** The inhabitants, and the leader even if its namespace's file is gone already. */
function remaining({ spec, process }: WorkloadRecord): readonly ProcessStat[] {
  const found = inhabitants(spec.namespacePath);
  if (process === null || found.some(({ pid }) => pid === process.pid)) return found;
  const leader = stillRuns(process) ? runningProcess(process.pid) : undefined;
  return leader === undefined ? found : [...found, leader];
}
