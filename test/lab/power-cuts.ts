import type { Test } from 'tap';
import type { Timeline } from '../../src/control/timeline.js';
import { must, personality } from '../../src/demo/stage.js';
import type { Lab } from '../../src/lab/lab.js';
import { HttpWatch, PingWatch } from '../../src/observe/observers.js';
import { incarnationOf, openLab, untilSpare } from './harness.js';

/** Each, and the median of all, also on a machine with other work to do; docs/benchmarks.md measures. */
const mostGapMs = 1_000;
const mostMedianMs = 500;

/** Cuts the power of whoever has the role, so many times in a row: each taken over within a second, nothing synced is lost. */
export async function cutInARow(t: Test, kills: number): Promise<void> {
  const { stage, lab } = await openLab(t, 'cuts');
  await must(stage, 'web1', ['sh', '-c', 'echo web1 > /srv/www/name && sync /srv/www/name']);
  const gaps: number[] = [];
  const httpGaps: number[] = [];
  const ping = new PingWatch(stage.lab, 'c1', '10.10.0.11');
  const http = new HttpWatch(stage.lab, 'c1', 'http://10.10.0.11/name', 'web1');
  t.teardown(async () => {
    await ping.stop();
    await http.stop();
  });
  for (let round = 1; round <= kills; round++) {
    const before = await stage.status();
    const { host, epoch } = personality(before, 'web1');
    if (host === null) throw new Error('web1 has no host');
    const text = `cut ${round}`;
    const write = `echo '${text}' > /srv/www/round && sync /srv/www/round`;
    await must(stage, 'web1', ['sh', '-c', write]);
    const startedMs = Date.now();
    await ping.answerAfter(startedMs, 5_000);
    await http.answerAfter(startedMs, 5_000);
    const cutMs = Date.now();
    await lab.kill(host);
    const killedMs = Date.now();
    await ping.answerAfter(killedMs, 20_000);
    await http.answerAfter(killedMs, 20_000);
    const record = await stage.failover('web1', epoch + 1, 20_000);
    t.equal(record.outcome, 'ok', `cut ${round}: ${host} → ${record.to}`);
    t.equal(record.verifiedBy !== null, true, 'verified by another host');
    const kept = await stage.lab.exec('web1', ['cat', '/srv/www/round']);
    t.equal(kept.stdout, `${text}\n`, 'what was synced before the cut is there');
    const gapMs = ping.longestGapMs(cutMs) ?? Number.NaN;
    gaps.push(gapMs);
    httpGaps.push(http.longestGapMs(cutMs) ?? Number.NaN);
    t.ok(gapMs < mostGapMs, `gap ${Math.round(gapMs)} ms`);
    if (gapMs >= mostGapMs) explain(t, lab, record);
    await lab.start(host);
    await untilSpare(stage, host, incarnationOf(before, host));
  }
  t.ok(median(gaps) < mostMedianMs, `median ${Math.round(median(gaps))} ms`);
  t.comment(`ping gaps in ms: ${text(gaps)}`);
  t.comment(`HTTP gaps in ms: ${text(httpGaps)}`);
}

/** What a gap that is too long is understood by. */
function explain(t: Test, lab: Lab, record: Timeline): void {
  t.comment(JSON.stringify(record));
  for (const { name } of lab.plan.hosts) {
    for (const daemon of ['pulse', 'agent']) {
      const log = lab.readFile(`logs/${name}-${daemon}.log`).trim().split('\n').slice(-25);
      t.comment(`${name} ${daemon}\n${log.join('\n')}`);
    }
  }
}

function median(gaps: readonly number[]): number {
  return [...gaps].sort((a, b) => a - b)[Math.floor(gaps.length / 2)] ?? Number.NaN;
}

function text(gaps: readonly number[]): string {
  const sorted = [...gaps].sort((a, b) => a - b).map(Math.round);
  return `median ${Math.round(median(gaps))}, from ${sorted[0]} to ${sorted.at(-1)}`;
}
