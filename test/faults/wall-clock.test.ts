import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'tap';
import { must, personality } from '../../src/demo/stage.js';
import { judgeOf } from '../../src/lab/lab-judge.js';
import { PingWatch } from '../../src/observe/observers.js';
import { openLab, understudy } from '../lab/harness.js';

const root = new URL('../../../', import.meta.url).pathname;
const steps = ['3600', '-86400', '0'];

test('a wall clock that is stepped by hours changes nothing', { timeout: 120_000 }, async (t) => {
  const folder = mkdtempSync(join(root, 'dist/wall-clock-'));
  t.teardown(() => rmSync(folder, { recursive: true }));
  const library = join(folder, 'wall-clock.so');
  const source = join(root, 'test/faults/wall-clock.c');
  execFileSync('gcc', ['-O2', '-Wall', '-Werror', '-shared', '-fPIC', '-o', library, source]);
  const node = ['env', `LD_PRELOAD=${library}`, process.execPath];
  const daemon = (name: string) => [...node, `${root}bin/understudy`, name];
  const programs = { agent: daemon('agent'), pulse: daemon('pulse') };
  const { stage, lab } = await openLab(t, 'clock', { programs });
  const judge = judgeOf(lab, stage.config);
  t.teardown(() => judge.stop());
  const before = await stage.status();
  const { host, epoch } = personality(before, 'web1');
  const ping = new PingWatch(stage.lab, 'c1', '10.10.0.11');
  t.teardown(() => ping.stop());
  await ping.answerAfter(Date.now(), 10_000);
  const sinceMs = Date.now();
  const stepOf = (name: string, seconds: string) =>
    must(stage, name, ['sh', '-c', `echo ${seconds} > /run/lab/wall-offset`]);

  // Forth and back on each host in turn, leader and owner among them; then all stand apart.
  for (const { name } of before.hosts) for (const seconds of steps) await stepOf(name, seconds);
  for (const [index, { name }] of before.hosts.entries()) await stepOf(name, `${index * 7_200}`);
  const seen = await must(stage, 'h2', [...node, '-p', 'Date.now()']);
  t.ok(Number(seen) - Date.now() > 3_600_000, 'what runs on h2 sees another hour');
  const moved = stage.until(
    'a role moves',
    ({ personalities }) => personalities.some((one) => one.epoch > 1),
    5_000,
  );
  await t.rejects(moved, /waited/, 'nothing is failed over');
  await ping.answerAfter(Date.now(), 5_000);
  t.equal(ping.lostAfter(sinceMs), 0, 'not one ping is lost');

  await lab.kill(host ?? '');
  const killedMs = Date.now();
  const record = await stage.failover('web1', epoch + 1, 20_000);
  t.equal(record.outcome, 'ok', 'a real failure is taken over as ever');
  const tookMs = record.steps.find(({ name }) => name === 'announce')?.endMs ?? Number.NaN;
  t.ok(
    tookMs > 0 && tookMs < 10_000,
    `announced ${Math.round(tookMs)} ms after the last heartbeat`,
  );
  await ping.answerAfter(killedMs, 20_000);
  t.match(await understudy(lab, 'failovers'), /web1-2 +ok/);
  t.match(judge.verdict(), { ok: true, missed: 0 });
});
