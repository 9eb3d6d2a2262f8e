import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'tap';
import { personality } from '../../src/demo/stage.js';
import { collect } from '../../src/lab/shell.js';
import { openLab } from './harness.js';

const program = new URL('../../../bin/understudy', import.meta.url).pathname;
const example = new URL('../../../examples/demo.yaml', import.meta.url).pathname;

test('who is not root gets a clear error, and nothing is made', async (t) => {
  // A user namespace without any mapping: everything can be read, nobody is root.
  const child = spawn('unshare', ['--user', process.execPath, program, 'lab', 'up', example]);
  const { code, stderr } = await collect(child);
  t.equal(code, 1);
  t.match(stderr, /^US_LAB_ROOT: .*\n {2}cause: .*\n {2}do: {4}run it as root/m);
});

test('an agent without its store says so and ends, leaving nothing', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'understudy-test-'));
  t.teardown(() => rmSync(folder, { recursive: true }));
  const config = join(folder, 'agent.yaml');
  writeFileSync(
    config,
    `host: h1
cluster: none
store: {endpoints: ["http://127.0.0.1:1"]}
underlayAddress: 127.0.0.1
underlayInterface: lo
runDirectory: ${folder}/run
pulseSocket: ${folder}/pulse.sock
`,
  );
  const child = spawn(process.execPath, [program, 'agent', '--config', config]);
  const { code, stderr } = await collect(child);
  t.equal(code, 4, 'no quorum');
  t.match(stderr, /US_STORE_UNREACHABLE: .*\n {2}cause: .*\n {2}do: {4}check/);
});

test('a spare that cannot reach the target says why, and takes over once it can', async (t) => {
  const { stage, lab } = await openLab(t, 'unreachable');
  const before = await stage.status();
  const { host, epoch } = personality(before, 'web1');
  const spares = before.hosts.filter(({ personalities }) => personalities.length === 0);
  for (const { name } of spares) await lab.partition(name, ['storage']);
  await lab.kill(host ?? '');
  const stuck = await stage.until(
    'the takeover fails',
    // Not the old owner's last words: its links go down one after the other.
    (status) => {
      const one = personality(status, 'web1');
      return one.phase === 'failed' && one.epoch > epoch;
    },
    30_000,
  );
  t.match(personality(stuck, 'web1').reason, /US_STORAGE_UNREACHABLE/);
  t.equal(personality(stuck, 'web1').epoch, epoch + 1, 'it stays where it was placed');
  for (const { name } of spares) await lab.heal(name);
  const healed = await stage.until(
    'web1 runs',
    (status) => personality(status, 'web1').phase === 'running',
    30_000,
  );
  t.equal(personality(healed, 'web1').epoch, epoch + 1);
});
