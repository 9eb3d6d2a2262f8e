import type { ChildProcess } from 'node:child_process';

/** How a command ended, with what it wrote. */
export interface Ran {
  /** 128 and the signal's number where a signal ended it, as shells tell it. */
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
      resolve({ code: exitCode(code, signal), stdout, stderr });
    });
    // A command that ends before it read all of its input is no error of ours.
    child.stdin?.on('error', () => undefined);
    child.stdin?.end(input ?? '');
  });
}

const signalNumbers: Partial<Record<NodeJS.Signals, number>> = {
  SIGHUP: 1,
  SIGINT: 2,
  SIGQUIT: 3,
  SIGABRT: 6,
  SIGBUS: 7,
  SIGKILL: 9,
  SIGSEGV: 11,
  SIGPIPE: 13,
  SIGALRM: 14,
  SIGTERM: 15,
};

/** A shell's `$?` for how a child ended. */
export function exitCode(code: number | null, signal: NodeJS.Signals | null): number {
  return code ?? 128 + (signal === null ? 0 : (signalNumbers[signal] ?? 0));
}

/** One word for the shell, whatever is in it. */
export function word(text: string): string {
  return `'${text.replaceAll("'", `'\\''`)}'`;
}
