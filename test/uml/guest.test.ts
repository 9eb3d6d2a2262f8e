import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { createInterface } from 'node:readline';
import tap, { test } from 'tap';
import { until } from '../lab/nodes.js';
import { guestMissing, runInGuest } from './guest.js';

const missing = guestMissing();
// A guest has one processor: two of them take no longer than one.
const options = { buffered: true, ...(missing === undefined ? {} : { skip: missing }) };
tap.jobs = 2;
tap.setTimeout(240_000);
const workingDirectory = new URL('../../..', import.meta.url).pathname;

/** Processes of guests whose files are in this folder. */
function guestsIn(folder: string): readonly string[] {
  return readdirSync('/proc').filter((name) => {
    try {
      return /^\d+$/.test(name) && readFileSync(`/proc/${name}/cmdline`, 'utf8').includes(folder);
    } catch {
      return false;
    }
  });
}

test('a command in a guest: output line by line, exit code, nothing left', options, async (t) => {
  const lines: string[] = [];
  const { code, output } = await runInGuest({
    command: [
      'sh',
      '-c',
      'uname -r; echo err >&2; grep -c understudy-guest /proc/cmdline; pwd; exit 5',
    ],
    workingDirectory,
    modules: [],
    timeoutMs: 60_000,
    onLine: (line) => lines.push(line),
  });
  t.equal(code, 5);
  t.equal(output, `${lines.join('\n')}\n`);
  t.not(lines[0], readFileSync('/proc/sys/kernel/osrelease', 'utf8').trim(), 'a kernel of its own');
  t.equal(`${lines[3]}/`, workingDirectory);
});

test('a guest that takes too long is ended, with what it said', options, async (t) => {
  const said = runInGuest({
    command: ['sh', '-c', 'echo begun; sleep 100'],
    workingDirectory,
    modules: [],
    timeoutMs: 8_000,
  });
  await t.rejects(said, /not done after 8000 ms[\s\S]*begun/);
});

test('a guest ends with the process that started it', options, async (t) => {
  const script = `
    import { runInGuest } from ${JSON.stringify(new URL('./guest.js', import.meta.url).href)};
    await runInGuest({ command: ['sh', '-c', 'grep -o "init=[^ ]*" /proc/cmdline; sleep 100'],
      workingDirectory: '/', modules: [], timeoutMs: 60_000, onLine: console.log });`;
  const starter = spawn(process.execPath, ['--input-type=module', '-e', script]);
  const lines = createInterface({ input: starter.stdout });
  const [line] = (await once(lines, 'line')) as [string];
  const folder = line.replace(/^init=(.*)\/init$/, '$1');
  // Nobody is left to remove it.
  t.teardown(() => rmSync(folder, { recursive: true }));
  t.ok(existsSync(folder) && guestsIn(folder).length > 0, folder);
  starter.kill('SIGKILL');
  await until('its processes are gone', () => guestsIn(folder).length === 0);
  t.pass('no process is left');
});
