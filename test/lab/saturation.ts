import { availableParallelism } from 'node:os';
import type { Test } from 'tap';
import { personality } from '../../src/demo/stage.js';
import { judgeOf } from '../../src/lab/lab-judge.js';
import { PingWatch } from '../../src/observe/observers.js';
import { openLab, understudy } from './harness.js';

const root = new URL('../../../', import.meta.url).pathname;
const garbage = new URL('./garbage.js', import.meta.url).pathname;

/** Every core taken twice over by other work, every agent collecting garbage: nothing may happen. */
export async function nothingHappensWhileSaturated(t: Test, durationMs: number): Promise<void> {
  const agent = [process.execPath, '--import', garbage, `${root}bin/understudy`, 'agent'];
  const { stage, lab } = await openLab(t, 'saturated', { programs: { agent } });
  const judge = judgeOf(lab, stage.config);
  t.teardown(() => judge.stop());
  const before = await stage.status();
  const ping = new PingWatch(stage.lab, 'c1', '10.10.0.11');
  t.teardown(() => ping.stop());
  await ping.answerAfter(Date.now(), 10_000);
  const sinceMs = Date.now();
  const processes = 2 * availableParallelism();
  await lab.load(processes);
  const { epoch } = personality(before, 'web1');
  const moved = stage.until(
    'a role moves',
    (now) => personality(now, 'web1').epoch > epoch,
    durationMs,
  );
  await t.rejects(
    moved,
    /waited/,
    `${durationMs / 1_000} s with ${processes} processes burning CPU`,
  );
  await ping.answerAfter(Date.now(), 10_000);
  const lost = ping.lostAfter(sinceMs);
  const gapMs = Math.round(ping.longestGapMs(sinceMs) ?? 0);
  t.comment(`${lost} of the client's pings lost, longest gap ${gapMs} ms`);
  await lab.load(0);
  t.strictSame(JSON.parse(await understudy(lab, 'failovers', '--json')), [], 'not one failover');
  const after = await stage.status();
  for (const { name, state, incarnation } of after.hosts) {
    t.strictSame([state, incarnation], ['up', 1], `${name} is up under its first incarnation`);
    t.notMatch(
      lab.readFile(`logs/${name}-pulse.log`),
      /lease lapsed/,
      `${name} never lost its lease`,
    );
  }
  t.match(judge.verdict(), { ok: true, missed: 0 });
}
