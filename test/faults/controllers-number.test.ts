import { test } from 'tap';
import { personality } from '../../src/demo/stage.js';
import { PingWatch } from '../../src/observe/observers.js';
import { apply, controlled, nothingLost, settled } from '../lab/controllers.js';
import { incarnationOf, openLab, understudy, untilSpare } from '../lab/harness.js';

test('from one controller to three, five, three others and one: no ping is lost', async (t) => {
  const enforced = 'fencing: {enforce: true}';
  const { stage, lab } = await openLab(t, 'number', {}, controlled(['h1'], enforced));
  await settled(stage, ['h1']);
  const { host, epoch } = personality(await stage.status(), 'web1');
  const ping = new PingWatch(stage.lab, 'c1', '10.10.0.11');
  t.teardown(() => ping.stop());
  const sinceMs = Date.now();
  for (const controllers of [
    ['h1', 'h2', 'h3'],
    ['h1', 'h2', 'h3', 'h6', 'h7'],
    ['h1', 'h6', 'h7'],
    ['h2', 'h3', 'h5'],
    ['h2'],
  ]) {
    const atMs = Date.now();
    await apply(lab, controllers, enforced);
    await settled(stage, controllers);
    t.comment(`${controllers.join(', ')}: ${Date.now() - atMs} ms`);
    await nothingLost(t, stage, ping, sinceMs, host ?? '', epoch);
  }
  await lab.kill(host ?? '');
  await stage.until(
    'web1 runs elsewhere',
    (status) => {
      const now = personality(status, 'web1');
      return now.host !== host && now.phase === 'running';
    },
    10_000,
  );
});

test('three controllers after one that enforced nothing: each host is enforced from its next life on', async (t) => {
  const { stage, lab } = await openLab(t, 'unforced', {}, controlled(['h1']));
  await settled(stage, ['h1']);
  const before = await stage.status();
  const { host, epoch } = personality(before, 'web1');
  const owner = host ?? '';
  const other = owner === 'h4' ? 'h5' : 'h4';
  const ping = new PingWatch(stage.lab, 'c1', '10.10.0.11');
  t.teardown(() => ping.stop());
  const sinceMs = Date.now();
  await apply(lab, ['h1', 'h2', 'h3']);
  await settled(stage, ['h1', 'h2', 'h3']);
  await nothingLost(t, stage, ping, sinceMs, owner, epoch);
  await lab.kill(other);
  await lab.start(other);
  await untilSpare(stage, other, incarnationOf(before, other));
  await lab.kill(owner);
  await stage.until(
    'the owner, of before, is not proven silent',
    (status) => personality(status, 'web1').reason.includes('understudy fenced'),
    10_000,
  );
  await understudy(lab, 'fenced', owner, '--yes');
  await stage.until(
    'web1 runs elsewhere',
    (status) => personality(status, 'web1').host === other,
    10_000,
  );
  const sinceMoveMs = Date.now();
  await lab.start(owner);
  await untilSpare(stage, owner, incarnationOf(before, owner));
  await lab.kill(other);
  await stage.until(
    'an enforced host needs nobody’s word',
    (status) => personality(status, 'web1').host === owner,
    10_000,
  );
  t.ok(Date.now() > sinceMoveMs);
});
