import { createHash } from 'node:crypto';
import { createInterface } from 'node:readline';
import { test } from 'tap';
import { macOf, must, personality } from '../../src/demo/stage.js';
import { Capture, PingWatch } from '../../src/observe/observers.js';
import { incarnationOf, openLab, untilSpare } from './harness.js';

test('a host that is paused, taken over and resumed sends and writes nothing more', async (t) => {
  const { stage, lab } = await openLab(t, 'pause');
  const before = await stage.status();
  const { host, epoch } = personality(before, 'web1');
  if (host === null) throw new Error('web1 has no host');
  const mac = macOf(before, 'web1');
  const { node, device, underlay } = stage.lab.edge('blue');
  // A writer that never rests: each line is synced, so it is in flight when the pause comes.
  const loop =
    'i=0; while :; do i=$((i+1)); echo "$i of the old owner" >> /srv/www/log; sync /srv/www/log; echo "$i"; done';
  const writer = stage.lab.spawn('web1', ['sh', '-c', loop]);
  t.teardown(() => writer.kill('SIGKILL'));
  await new Promise<void>((resolve) => {
    if (writer.stdout === null) throw new Error('the writer has no output');
    createInterface({ input: writer.stdout }).on('line', (line) => {
      if (Number(line) >= 5) resolve();
    });
  });
  const ping = new PingWatch(stage.lab, 'c1', '10.10.0.11');
  t.teardown(() => ping.stop());
  await ping.answerAfter(Date.now(), 5_000);
  const stopped = await lab.pause(host);
  const pausedMs = Date.now();
  t.ok(stopped > 3, `${stopped} processes of ${host} are stopped`);
  const record = await stage.failover('web1', epoch + 1, 20_000);
  t.equal(record.outcome, 'ok', `taken over by ${record.to}`);
  await ping.answerAfter(pausedMs + (record.steps.at(0)?.endMs ?? 0), 20_000);
  // Nothing of the new owner's own may change the disk from here on.
  await must(stage, 'web1', [
    'sh',
    '-c',
    'wc -l < /srv/www/log > /srv/www/count; sync -f /srv/www',
  ]);
  const volume = stage.config.volumes[0];
  const file = stage.lab.backingFile(volume?.target ?? '', volume?.lun ?? 0);
  const disk = async () =>
    createHash('sha256')
      .update(await must(stage, 'storage', ['sha256sum', file]))
      .digest('hex');
  const unchanged = await disk();
  const capture = new Capture(
    stage.lab,
    node,
    device,
    `udp port 4789 and not src host ${underlay}`,
  );
  t.teardown(() => capture.stop());
  await capture.ready;
  await lab.resume(host);
  await untilSpare(stage, host, incarnationOf(before, host));
  const late = capture.frames.filter(
    ({ seen }) =>
      seen.ip?.source === stage.lab.underlayAddress(host) && seen.vxlan?.inner.source === mac,
  );
  t.equal(late.length, 0, `frames with the vMAC from ${host} after it went on`);
  t.equal(await disk(), unchanged, 'not a byte of the LUN changed, read beside the target');
  const count = await must(stage, 'web1', ['sh', '-c', 'wc -l < /srv/www/log; cat /srv/www/count']);
  const [now, then] = count.trim().split('\n');
  t.equal(now, then, 'the new owner’s file is as it was');
  t.ok(Number(now) >= 5, 'with every line that was synced before the pause');
});
