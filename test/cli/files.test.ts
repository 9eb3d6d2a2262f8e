import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { test } from 'tap';
import { root, understudy } from './run.js';

/** Until the kernel says that the process waits in open(2) of a pipe nobody writes. */
async function waitsForWriter(pid: number): Promise<void> {
  const waiting = /^wait_for_partner|^fifo_open/;
  while (!waiting.test(readFileSync(`/proc/${pid}/wchan`, 'utf8'))) await pause(10);
}

test('a signal ends a command that reads a pipe which nobody writes', async (t) => {
  const pipe = join(t.testdir(), 'pipe');
  t.equal(spawnSync('mkfifo', [pipe]).status, 0);
  for (const name of ['SIGINT', 'SIGTERM'] as const) {
    const child = spawn(process.execPath, ['bin/understudy', 'validate', pipe], { cwd: root });
    t.teardown(() => child.kill('SIGKILL'));
    await waitsForWriter(child.pid ?? 0);
    child.kill(name);
    t.strictSame(await once(child, 'close'), [null, name]);
  }
});

test('what a file holds cannot speak to the terminal', async (t) => {
  const file = join(t.testdir(), 'cluster.yaml');
  writeFileSync(file, 'cluster: "\\e[31mred\\x9b"\n');
  const ran = await understudy(['validate', file]);
  t.equal(ran.code, 2);
  t.match(ran.stderr, 'cluster: cluster cannot be \ufffd[31mred\ufffd\n  do: write a name');
  t.notMatch(ran.stderr, /[^\P{Cc}\n]/u);
});

test('every kind of file that cannot be used is wrong usage, and is read only so far', async (t) => {
  const folder = t.testdir({ 'broken.yaml': 'steps: [' });
  const broken = join(folder, 'broken.yaml');
  const good = 'examples/two-racks.yaml';
  for (const [args, code] of [
    [['lab', 'run', broken], 'US_LAB_SCENARIO'],
    [['lab', 'run', '/dev/zero'], 'US_LAB_SCENARIO'],
    [['import', 'site', good, '--map', broken], 'US_IMPORT_MAP'],
  ] as const) {
    const ran = await understudy(args);
    t.strictSame([ran.code, ran.stdout], [2, ''], args.join(' '));
    t.match(ran.stderr, code, args.join(' '));
  }
});
