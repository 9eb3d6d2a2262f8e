import { type ChildProcess, spawn } from 'node:child_process';
import { UnderstudyError } from '../errors.js';

/** How a command ended, with what it wrote. */
export interface Ran {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

const largestOutputBytes = 16 * 1024 * 1024;

/** Collects output of a child up to a bound and waits for its end. */
export function collect(child: ChildProcess, input?: string): Promise<Ran> {
  return new Promise((resolve, reject) => {
    const out: Buffer[] = [];
    const err: Buffer[] = [];
    let sizeBytes = 0;
    const take = (list: Buffer[]) => (chunk: Buffer) => {
      sizeBytes += chunk.length;
      if (sizeBytes > largestOutputBytes) child.kill('SIGKILL');
      else list.push(chunk);
    };
    child.stdout?.on('data', take(out));
    child.stderr?.on('data', take(err));
    child.once('error', reject);
    child.once('close', (code, signal) => {
      const stdout = Buffer.concat(out).toString();
      const stderr = Buffer.concat(err).toString();
      resolve({ code: code ?? (signal === null ? 1 : 128), stdout, stderr });
    });
    // A command that ends before it read all of its input is no error of ours.
    child.stdin?.on('error', () => undefined);
    child.stdin?.end(input ?? '');
  });
}

/** Runs a shell script inside the lab's mount and PID namespace; it has to succeed. */
export async function runScript(labPid: number, what: string, script: string): Promise<string> {
  const child = spawn('nsenter', ['-t', String(labPid), '-m', '-p', 'bash', '-s'], {
    stdio: ['pipe', 'pipe', 'pipe'],
  });
  const { code, stdout, stderr } = await collect(child, script);
  if (code === 0) return stdout;
  throw new UnderstudyError({
    code: 'US_LAB_SCRIPT',
    action: 'cannot',
    object: what,
    cause: stderr.trim().split('\n').slice(-3).join('; ') || `exit code ${code}`,
    remedy: 'npm run setup installs what a lab needs; see also the logs in the lab’s folder',
  });
}
