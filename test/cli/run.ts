import { spawn } from 'node:child_process';

export const root = new URL('../../../', import.meta.url).pathname;

export interface Ran {
  /** Exit code, or the name of the signal that ended it. */
  readonly code: number | string;
  readonly stdout: string;
  readonly stderr: string;
}

export interface RunOptions {
  readonly input?: string;
  readonly env?: NodeJS.ProcessEnv;
}

const longestRunMs = 30_000;

/** Runs bin/understudy as a user does, from the root of the checkout. */
export function understudy(args: readonly string[], options: RunOptions = {}): Promise<Ran> {
  return runProgram(process.execPath, ['bin/understudy', ...args], options);
}

export function runProgram(
  program: string,
  args: readonly string[],
  { input = '', env = process.env }: RunOptions = {},
): Promise<Ran> {
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, { cwd: root, env, timeout: longestRunMs });
    let stdout = '';
    let stderr = '';
    child.stdout.on('data', (data: Buffer) => {
      stdout += data.toString();
    });
    child.stderr.on('data', (data: Buffer) => {
      stderr += data.toString();
    });
    child.on('error', reject);
    child.on('close', (code, signal) => resolve({ code: code ?? signal ?? '', stdout, stderr }));
    child.stdin.on('error', () => {}); // it ended without reading
    child.stdin.end(input);
  });
}
