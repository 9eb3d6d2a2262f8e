import { test } from 'tap';
import { personality } from '../../src/demo/stage.js';
import { PingWatch } from '../../src/observe/observers.js';
import { openLab } from './harness.js';

const silentMs = 3_000;

/**
 * The other side of every test of a gap: with nobody announcing, the client's edge goes on sending to
 * the dead host, and the gap is no gap but an outage.
 */
test('without the announcement a client does not find the new owner', async (t) => {
  const { stage, lab } = await openLab(t, 'mute', { agentSettings: { announce: false } });
  const before = await stage.status();
  const { host, epoch } = personality(before, 'web1');
  if (host === null) throw new Error('web1 has no host');
  const ping = new PingWatch(stage.lab, 'c1', '10.10.0.11');
  t.teardown(() => ping.stop());
  await ping.answerAfter(Date.now(), 10_000);
  await lab.kill(host);
  const killedMs = Date.now();
  const record = await stage.failover('web1', epoch + 1, 20_000);
  t.equal(record.outcome, 'ok', 'the takeover itself succeeds');
  await t.rejects(ping.answerAfter(killedMs, silentMs), /no answer/, 'the client gets no answer');
});
