import { execFileSync } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Test } from 'tap';

const source = new URL('../../../native/many-writes.c', import.meta.url).pathname;

/** Builds the program that keeps many writes under way. @returns its path */
export function manyWritesProgram(t: Pick<Test, 'teardown'>): string {
  const folder = mkdtempSync(join(tmpdir(), 'ustest-many-writes-'));
  t.teardown(() => rmSync(folder, { recursive: true }));
  const program = join(folder, 'many-writes');
  execFileSync('gcc', ['-O2', '-Wall', '-Werror', '-pthread', '-o', program, source]);
  return program;
}

/** Threads of a process that wait in the kernel for a disk, and will be told of no signal before it answers. */
export function unanswered(pid: number): number {
  return readdirSync(`/proc/${pid}/task`).filter((task) => {
    const stat = readFileSync(`/proc/${pid}/task/${task}/stat`, 'utf8');
    return stat.slice(stat.lastIndexOf(')') + 2).startsWith('D');
  }).length;
}
