import tap, { test } from 'tap';
import { macOf, must, personality } from '../../src/demo/stage.js';
import { judgeOf } from '../../src/lab/lab-judge.js';
import { PingWatch } from '../../src/observe/observers.js';
import { openLab } from '../lab/harness.js';
import {
  address,
  debianHosts,
  isolation,
  mostGapMs,
  patienceMs,
  pingEveryMs,
  stepsMs,
  trunk,
} from './trunk.js';

tap.setTimeout(1_800_000);

test('a power cut on Debian’s own kernel, with 802.1Q and a LUN', async (t) => {
  const startedMs = Date.now();
  const { stage, lab } = await openLab(t, 'vlan', {}, trunk(['h1', 'h2', 'h3']));
  t.comment(`up after ${Math.round((Date.now() - startedMs) / 1_000)} s`);
  const before = await stage.status();
  const { host, epoch } = personality(before, 'web-1');
  if (host === null) throw new Error('web-1 has no host');
  await t.test('the hosts are Debian, and the package’s units', (t) =>
    debianHosts(t, stage, lab, host),
  );
  await t.test('frames are tagged, and each VLAN keeps to itself', (t) => isolation(t, stage, lab));

  const written = 'echo survives > /srv/shop/text && sync /srv/shop/text';
  await must(stage, 'web-1', ['sh', '-c', written]);
  const judge = judgeOf(lab, stage.config);
  t.teardown(() => judge.stop());
  const ping = new PingWatch(stage.lab, 'c1', address, pingEveryMs);
  t.teardown(() => ping.stop());
  await ping.answerAfter(Date.now(), patienceMs);
  const cutMs = Date.now();
  await lab.kill(host);
  await ping.answerAfter(Date.now(), patienceMs);
  await stage.until(
    'web-1 runs on another host',
    (status) => {
      const now = personality(status, 'web-1');
      return now.phase === 'running' && now.epoch > epoch;
    },
    patienceMs,
  );
  // Its steps; nobody else is on that network who could verify it.
  const record = await stage.failover('web-1', epoch + 1, stepsMs);
  t.equal(record.outcome, 'ok', `${host} → ${record.to}: ${record.reason}`);
  t.not(record.to, host);
  t.equal(await must(stage, 'web-1', ['cat', '/srv/shop/text']), 'survives\n', 'what was synced');
  const page = ['curl', '-s', '-m', '20', `http://${address}/text`];
  t.equal(await must(stage, 'c1', page), 'survives\n', 'and the client reads it');
  t.equal(macOf(await stage.status(), 'web-1'), macOf(before, 'web-1'), 'by the same MAC');
  const gapMs = ping.longestGapMs(cutMs) ?? Number.NaN;
  t.ok(gapMs < mostGapMs, `gap ${Math.round(gapMs)} ms`);
  for (const { name, startMs, endMs } of record.steps) t.comment(`${name} ${startMs}-${endMs} ms`);
  const verdict = judge.verdict();
  t.ok(verdict.ok && verdict.frames > 0, `no vMAC from two ports in ${verdict.frames} frames`);
  t.comment(`all in ${Math.round((Date.now() - startedMs) / 1_000)} s`);
});
