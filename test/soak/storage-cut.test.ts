import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { setTimeout as pause } from 'node:timers/promises';
import tap, { type Test, test } from 'tap';
import { must, personality, type Stage } from '../../src/demo/stage.js';
import type { Lab } from '../../src/lab/lab.js';
import { openLab } from '../lab/harness.js';

tap.setTimeout(600_000);

/** What may pass from the moment the network is back to the next acknowledged write. */
const mostResumeMs = 60_000;

test('a storage network that is away for a while loses nothing', async (t) => {
  const { stage, lab } = await openLab(t, 'storage-cut');
  for (const seconds of [5, 60]) {
    await t.test(`for ${seconds} s`, (t) => cutAndJudge(t, stage, lab, seconds));
  }
});

/**
 * fio writes and reads back with checksums, and a writer says when each of its lines was synced, while
 * the host's storage network is cut and joined again.
 */
async function cutAndJudge(t: Test, stage: Stage, lab: Lab, seconds: number): Promise<void> {
  const before = personality(await stage.status(), 'web1');
  const host = before.host ?? '';
  const fio = stage.lab.spawn('web1', [
    ...['fio', '--name=cut', '--directory=/srv/www', '--size=8m', '--rw=randwrite', '--bs=4k'],
    ...[
      '--ioengine=libaio',
      '--direct=1',
      '--iodepth=16',
      '--verify=crc32c',
      '--verify_fatal=1',
      '--verify_state_save=0',
    ],
    ...['--time_based', `--runtime=${seconds + 45}`, '--rate=2m', '--output-format=terse'],
  ]);
  const fioEnd = once(fio, 'close');
  const lines = `i=0; while :; do i=$((i+1)); echo $i >> /srv/www/lines${seconds} && sync /srv/www/lines${seconds} && echo $i; done`;
  const writer = stage.lab.spawn('web1', ['sh', '-c', lines]);
  t.teardown(() => {
    fio.kill('SIGKILL');
    writer.kill('SIGKILL');
  });
  if (writer.stdout === null) throw new Error('the writer has no output');
  let last = 0;
  let told = () => {};
  createInterface({ input: writer.stdout }).on('line', (line) => {
    last = Number(line);
    told();
  });
  const next = (limitMs: number) =>
    new Promise<void>((resolve, reject) => {
      const timer = setTimeout(() => reject(new Error(`nothing in ${limitMs} ms`)), limitMs);
      told = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  while (last < 20) await next(20_000);

  await lab.partition(host, ['storage']);
  // The fault itself is a length of time.
  await pause(seconds * 1_000);
  const during = last;
  if (seconds >= 10) {
    const still = personality(await stage.status(), 'web1');
    t.match(still.volumes[0]?.trouble, /no answer/, 'status says that the disk stands still');
    t.match(still.reason, /web1-data stands still/);
    t.equal(still.phase, 'running', 'and that the rest runs on');
  }
  await lab.heal(host);
  const healedMs = performance.now();
  await next(mostResumeMs);
  const resumedMs = performance.now() - healedMs;
  t.ok(last > during, `writes go on ${Math.round(resumedMs)} ms after the network is back`);
  const [code] = (await fioEnd) as [number];
  t.equal(code, 0, 'fio read back all that it wrote');
  writer.kill('SIGKILL');
  await once(writer, 'close');
  const kept = await must(stage, 'web1', ['cat', `/srv/www/lines${seconds}`]);
  const numbers = kept.trim().split('\n').map(Number);
  t.ok(
    numbers.every((number, index) => number === index + 1) && numbers.length >= last,
    `all ${last} acknowledged lines are there`,
  );
  const after = personality(await stage.status(), 'web1');
  if (seconds >= 10) {
    await stage.until(
      'nothing stands still',
      (now) => personality(now, 'web1').volumes[0]?.trouble === undefined,
      20_000,
    );
  }
  t.equal(after.epoch, before.epoch, 'nothing was failed over for it');
  t.equal(after.phase, 'running');
  await must(stage, host, ['fsfreeze', '-f', '/run/understudy/web1/0']);
  const volume = stage.config.volumes[0];
  const file = stage.lab.backingFile(volume?.target ?? '', volume?.lun ?? 0);
  const checked = await stage.lab.exec('storage', ['e2fsck', '-fn', file]);
  await must(stage, host, ['fsfreeze', '-u', '/run/understudy/web1/0']);
  t.equal(checked.code, 0, 'the file system is whole');
}
