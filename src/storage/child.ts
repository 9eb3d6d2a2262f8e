import { spawn } from 'node:child_process';

export interface ChildResult {
  /** Exit code; null when a signal ended it. */
  readonly code: number | null;
  /** Standard output, cut after `maxOutputChars`. */
  readonly stdout: string;
  readonly stderr: string;
  readonly timedOut: boolean;
}

const maxOutputChars = 1024 * 1024;

/**
 * Runs a program to its end, or kills it after `timeoutMs`. One that hangs in the kernel cannot be
 * killed: then this returns all the same, and the process goes when the disk answers or dies.
 *
 * @throws what spawn reports (ENOENT); the signal's reason when it was aborted
 */
export function runChild(
  program: string,
  args: readonly string[],
  options: {
    readonly timeoutMs: number;
    readonly signal?: AbortSignal;
    readonly env?: Readonly<Record<string, string>>;
  },
): Promise<ChildResult> {
  options.signal?.throwIfAborted();
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { ...process.env, LC_ALL: 'C', ...options.env },
    });
    let timedOut = false;
    const output = { stdout: '', stderr: '' };
    for (const name of ['stdout', 'stderr'] as const) {
      child[name].setEncoding('utf8');
      child[name].on('data', (text: string) => {
        if (output[name].length < maxOutputChars) output[name] += text;
      });
    }
    const settle = (then: () => void) => {
      clearTimeout(timer);
      clearTimeout(stuck);
      options.signal?.removeEventListener('abort', onAbort);
      then();
    };
    let stuck: NodeJS.Timeout | undefined;
    /** SIGKILL, then half a second for it to work. */
    const kill = (then: () => void) => {
      child.kill('SIGKILL');
      stuck ??= setTimeout(() => settle(then), 500);
    };
    const timer = setTimeout(() => {
      timedOut = true;
      kill(() => resolve({ code: null, ...output, timedOut }));
    }, options.timeoutMs);
    const onAbort = () => kill(() => reject(options.signal?.reason));
    options.signal?.addEventListener('abort', onAbort, { once: true });
    child.on('error', (thrown) => settle(() => reject(thrown)));
    child.on('close', (code) =>
      settle(() => {
        if (options.signal?.aborted) reject(options.signal.reason);
        else resolve({ code, ...output, timedOut });
      }),
    );
  });
}
