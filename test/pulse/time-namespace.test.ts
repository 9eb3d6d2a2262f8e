import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'tap';
import { bootNs, bootOffsetNs } from '../../src/ffi/clock.js';
import { collect } from '../../src/lab/shell.js';

const program = new URL('../../../bin/understudy', import.meta.url).pathname;

/** Its leases would end by another clock than the one they are counted on. */
test('pulse refuses a time namespace with a boot clock of its own', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'ustest-clock-'));
  t.teardown(() => rmSync(folder, { recursive: true }));
  const file = join(folder, 'pulse.yaml');
  writeFileSync(file, 'bind: 127.0.0.1\nport: 17411\nkeyFile: /nonexistent\n');
  const run = (...enter: readonly string[]) => {
    const [command = '', ...argv] = [
      ...enter,
      process.execPath,
      program,
      'pulse',
      '--config',
      file,
    ];
    return collect(spawn(command, argv));
  };
  for (const offset of ['1000', '-1']) {
    const { code, stderr } = await run('unshare', '--time', '--boottime', offset, '--');
    t.not(code, 0);
    t.match(stderr, new RegExp(`US_PULSE_CLOCK[\\s\\S]*is ${offset} s apart`));
  }
  t.match(
    (await run('unshare', '--time', '--')).stderr,
    /US_PULSE_KEY/,
    'without an offset it goes on',
  );
  t.equal(bootOffsetNs(), 0n);
  t.ok(bootNs() > 0n);
});
