import type { ChildProcess } from 'node:child_process';
import { createInterface } from 'node:readline';

/** Resolves with what follows `ready` on a child's first line; rejects with its last words. */
export function untilReady(child: ChildProcess, timeoutMs: number): Promise<string> {
  return new Promise((resolve, reject) => {
    let said = '';
    child.stderr?.on('data', (chunk: Buffer) => {
      said = (said + chunk.toString()).slice(-2_000);
    });
    const fail = (reason: string) => {
      clearTimeout(timer);
      reject(new Error(said.trim() === '' ? reason : said.trim().replaceAll('\n', '; ')));
    };
    const timer = setTimeout(() => fail(`not ready after ${timeoutMs} ms`), timeoutMs);
    child.once('error', (error) => fail(error.message));
    if (child.stdout === null) return fail('no pipe to it');
    const lines = createInterface({ input: child.stdout });
    lines.once('line', (line) => {
      clearTimeout(timer);
      if (/^ready\b/.test(line)) resolve(line.slice('ready '.length));
      else fail(`it said: ${line}`);
      lines.close();
      child.stdout?.destroy();
      child.stderr?.destroy();
    });
    lines.once('close', () => fail('it ended before it was ready'));
  });
}
