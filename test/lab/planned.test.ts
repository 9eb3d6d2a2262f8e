import { test } from 'tap';
import { must, personality } from '../../src/demo/stage.js';
import { PingWatch } from '../../src/observe/observers.js';
import { openLab, understudy, untilRuns } from './harness.js';

test('what is done on purpose: agent restart, planned move, drain', async (t) => {
  const { stage, lab } = await openLab(t, 'purpose');
  await must(stage, 'web1', ['sh', '-c', 'echo kept > /srv/www/kept']);
  const ping = new PingWatch(stage.lab, 'c1', '10.10.0.11');
  t.teardown(() => ping.stop());
  await ping.answerAfter(Date.now(), 10_000);

  await t.test('an agent tells its health and metrics on its own loopback', async (t) => {
    const get = (path: string) =>
      must(stage, 'h1', ['curl', '-sS', `http://127.0.0.1:7412${path}`]);
    t.same(JSON.parse(await get('/healthz')), { store: true, pulse: true });
    t.match(await get('/metrics'), /^understudy_lease_remaining_seconds 0\.[01]\d*$/m);
    t.match(JSON.parse(await get('/v1/status')), { personalities: [{ name: 'web1' }, {}] });
  });

  await t.test('an agent that is killed and starts again disturbs nothing', async (t) => {
    const { host, epoch } = personality(await stage.status(), 'web1');
    const sinceMs = Date.now();
    await must(stage, host ?? '', ['pkill', '-9', '-f', 'understudy agent']);
    const enrolled = async () => {
      const lines = (await understudy(lab, 'events', '--json')).trim().split('\n');
      return lines
        .map((line) => JSON.parse(line) as { atUnixMs: number; kind: string; host: string })
        .some((one) => one.kind === 'enrolled' && one.host === host && one.atUnixMs > sinceMs);
    };
    const endMs = sinceMs + 20_000;
    while (!(await enrolled())) {
      if (Date.now() > endMs) throw new Error('the agent did not come back');
    }
    const after = personality(await stage.status(), 'web1');
    t.same([after.host, after.epoch], [host, epoch], 'same host, same epoch');
    await ping.answerAfter(Date.now(), 5_000);
    t.equal(ping.lostAfter(sinceMs), 0, 'not one ping is lost');
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
