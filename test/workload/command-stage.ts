import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Test } from 'tap';
import type { WorkloadConfig } from '../../src/config/types.js';
import {
  CommandWorkload,
  type CommandWorkloadOptions,
} from '../../src/workload/command-workload.js';
import type { WorkloadSpec } from '../../src/workload/types.js';

export const never = new AbortController().signal;
let stages = 0;

/** A network namespace, a run directory and a mounted volume of one test. */
export function stage(t: Test) {
  const name = `ustest-${process.pid}-w${stages++}`;
  const directory = mkdtempSync(join(tmpdir(), `${name}-`));
  const runDirectory = join(directory, 'run');
  const source = join(runDirectory, 'web1', '0');
  const target = join(directory, 'data');
  execFileSync('ip', ['netns', 'add', name]);
  mkdirSync(source, { recursive: true });
  execFileSync('mount', ['-t', 'tmpfs', name, source]);
  writeFileSync(join(source, 'hello'), 'from the volume');
  const workloads: CommandWorkload[] = [];
  t.teardown(async () => {
    for (const workload of workloads) {
      await workload.abort('web1', never);
      await workload.stop();
    }
    execFileSync('umount', [source]);
    execFileSync('ip', ['netns', 'delete', name]);
    rmSync(directory, { recursive: true });
  });
  return {
    name,
    runDirectory,
    source,
    target,
    log: () => readFileSync(join(runDirectory, 'log', 'web1.log'), 'utf8'),
    open: async (options: CommandWorkloadOptions = {}) => {
      const workload = new CommandWorkload({ runDirectory, firstBackOffMs: 20, ...options });
      workloads.push(workload);
      await workload.start(never);
      return workload;
    },
    spec: (workload: WorkloadConfig, changes: Partial<WorkloadSpec> = {}): WorkloadSpec => ({
      personality: 'web1',
      epoch: 1,
      namespacePath: `/run/netns/${name}`,
      mounts: [{ source, target }],
      workload,
      ...changes,
    }),
  };
}

export const shell = (script: string): WorkloadConfig => ({
  kind: 'command',
  command: ['sh', '-c', script],
});

/** Waits for what has no event of its own; bounded by tap's time-out. */
export async function until(condition: () => boolean | Promise<boolean>): Promise<void> {
  while (!(await condition())) await sleep(5);
}

export async function only(workload: CommandWorkload) {
  const [found] = await workload.observe(never);
  if (found === undefined) throw new Error('nothing is observed');
  return found;
}

export async function pidOf(workload: CommandWorkload): Promise<number> {
  const { pid } = await only(workload);
  if (pid === undefined) throw new Error('no process runs');
  return pid;
}
