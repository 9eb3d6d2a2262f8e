import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { type Test, test } from 'tap';
import { must, personality, type Stage } from '../../src/demo/stage.js';
import type { Lab } from '../../src/lab/lab.js';
import { PingWatch } from '../../src/observe/observers.js';
import { openLab, understudy, untilRuns } from './harness.js';

test('what is done on purpose: agent restart, planned move, drain', async (t) => {
  const { stage, lab } = await openLab(t, 'purpose');
  await must(stage, 'web1', ['sh', '-c', 'echo kept > /srv/www/kept']);
  const ping = new PingWatch(stage.lab, 'c1', '10.10.0.11');
  t.teardown(() => ping.stop());
  await ping.answerAfter(Date.now(), 10_000);
  const build = otherBuild(t);

  await t.test('an agent tells its health and metrics on its own loopback', async (t) => {
    const get = (path: string) =>
      must(stage, 'h1', ['curl', '-sS', `http://127.0.0.1:7412${path}`]);
    t.same(JSON.parse(await get('/healthz')), { store: true, pulse: true });
    t.match(await get('/metrics'), /^understudy_lease_remaining_seconds 0\.[01]\d*$/m);
    t.match(JSON.parse(await get('/v1/status')), { personalities: [{ name: 'web1' }, {}] });
  });

  await t.test('an agent that is killed, restarted or upgraded disturbs nothing', async (t) => {
    const { host, epoch } = personality(await stage.status(), 'web1');
    const agent = lab.machine(host ?? '').daemon('agent');
    // Other work takes every core meanwhile.
    await lab.load(2 * availableParallelism());
    for (const [what, change] of [
      ['killed', async () => agent.signal('KILL')],
      ['restarted', () => agent.restart()],
      ['replaced by another build', () => agent.restart([...build, 'agent', ...settings])],
    ] as const) {
      const sinceMs = Date.now();
      await change();
      await enrolledAgain(stage, lab, host, sinceMs);
      const after = personality(await stage.status(), 'web1');
      t.same([after.host, after.epoch], [host, epoch], `${what}: same host, same epoch`);
      await ping.answerAfter(Date.now(), 5_000);
      t.equal(ping.lostAfter(sinceMs), 0, 'not one ping is lost');
    }
    await lab.load(0);
    const running = readFileSync(`/proc/${agent.process?.pid}/cmdline`, 'utf8');
    t.match(running, build[1], 'the other build runs');
  });

  await t.test('a planned move hands over in good order, unsynced writes included', async (t) => {
    const before = personality(await stage.status(), 'web1');
    const sinceMs = Date.now();
    await understudy(lab, 'move', 'web1');
    const after = personality(await untilRuns(stage, 'web1', before.epoch + 1), 'web1');
    t.not(after.host, before.host);
    t.equal((await stage.lab.exec('web1', ['cat', '/srv/www/kept'])).stdout, 'kept\n');
    await ping.answerAfter(Date.now(), 5_000);
    t.comment(`gap of a planned move: ${Math.round(ping.longestGapMs(sinceMs) ?? 0)} ms`);
  });

  await t.test('a drained host is emptied and gets nothing until it is undrained', async (t) => {
    const before = personality(await stage.status(), 'web1');
    const drained = before.host ?? '';
    await understudy(lab, 'drain', drained);
    const status = await untilRuns(stage, 'web1', before.epoch + 1);
    t.not(personality(status, 'web1').host, drained);
    const host = status.hosts.find(({ name }) => name === drained);
    t.match(host, { state: 'drained', personalities: [] });
    await t.rejects(understudy(lab, 'drain', 'nobody'), /US_HOST_UNKNOWN/);
    await understudy(lab, 'undrain', drained);
    await stage.until(
      'it takes part again',
      ({ hosts }) => hosts.some(({ name, state }) => name === drained && state === 'up'),
      10_000,
    );
  });

  await t.test('which, failovers and status answer in the lab without an address', async (t) => {
    const status = JSON.parse(await understudy(lab, 'status', '--json')) as { cluster: string };
    t.equal(status.cluster, 'purpose');
    const failovers = JSON.parse(await understudy(lab, 'failovers', '--json')) as unknown[];
    t.equal(failovers.length, 2, 'the move and the drain');
    t.match(await understudy(lab, 'failovers'), /web1-3 +ok/);
  });
});

const settings = ['--config', '/etc/understudy/agent.yaml'];
const root = new URL('../../../', import.meta.url).pathname;

/** A copy of what runs, under another path and with another version, gone with the test. */
function otherBuild(t: Test): readonly [string, string] {
  const folder = mkdtempSync(join(root, 'dist/other-build-'));
  t.teardown(() => rmSync(folder, { recursive: true }));
  for (const part of ['bin', 'dist/src', 'dist/native', 'package.json']) {
    cpSync(join(root, part), join(folder, part), { recursive: true });
  }
  const file = join(folder, 'package.json');
  writeFileSync(file, readFileSync(file, 'utf8').replace(/"version": ".*"/, '"version": "0.0.1"'));
  return [process.execPath, join(folder, 'bin/understudy')];
}

/** Waits until the host's agent has come back. */
async function enrolledAgain(stage: Stage, lab: Lab, host: string | null, sinceMs: number) {
  const endMs = sinceMs + 30_000;
  for (;;) {
    stage.signal.throwIfAborted();
    const lines = (await understudy(lab, 'events', '--json')).trim().split('\n');
    const events = lines.map(
      (line) => JSON.parse(line) as { atUnixMs: number; kind: string; host: string },
    );
    const mine = events.filter((one) => one.host === host && one.atUnixMs > sinceMs);
    if (mine.some(({ kind }) => kind === 'enrolled')) return;
    if (Date.now() > endMs) throw new Error('the agent did not come back');
  }
}
