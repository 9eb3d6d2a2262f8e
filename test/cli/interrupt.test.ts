import { type ChildProcessByStdio, spawn } from 'node:child_process';
import { once } from 'node:events';
import type { Readable } from 'node:stream';
import { test } from 'tap';

const script = new URL('./interrupted-command.js', import.meta.url).pathname;

type Child = ChildProcessByStdio<null, Readable, Readable>;

function start(...args: readonly string[]): Child {
  return spawn(process.execPath, [script, ...args], { stdio: ['ignore', 'pipe', 'pipe'] });
}

/** Resolves when the child has said this line. */
async function said(child: Child, line: string): Promise<void> {
  for await (const [data] of on(child)) if (data.includes(line)) return;
}

async function* on(child: Child): AsyncGenerator<[string]> {
  while (child.exitCode === null) {
    const [data] = (await once(child.stdout, 'data')) as [Buffer];
    yield [data.toString()];
  }
}

test('the first signal stops a command in good order: no failure, no defect', async (t) => {
  for (const [name, code] of [
    ['SIGINT', 130],
    ['SIGTERM', 143],
  ] as const) {
    const child = start();
    t.teardown(() => child.kill('SIGKILL'));
    let stderr = '';
    child.stderr.on('data', (data: Buffer) => {
      stderr += data.toString();
    });
    await said(child, 'ready');
    child.kill(name);
    const [exitCode] = (await once(child, 'close')) as [number];
    t.equal(exitCode, code, name);
    t.equal(stderr, `stopped by ${name}\n`);
  }
});

test('the second signal ends it at once', async (t) => {
  const child = start('stubborn');
  t.teardown(() => child.kill('SIGKILL'));
  await said(child, 'ready');
  child.kill('SIGINT');
  await said(child, 'stopping');
  child.kill('SIGINT');
  t.strictSame(await once(child, 'close'), [130, null]);
});
