import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as pause } from 'node:timers/promises';
import type { Test } from 'tap';
import { diskState, disksOf } from '../../src/storage/kernel-sessions.js';
import { attachSpec } from '../storage/lun-server.js';
import { kernelWorld, ourSessions } from './kernel-world.js';
import type { StorageNetwork } from './storage-network.js';

const never = new AbortController().signal;
/** What may pass from the moment the network is back to the next acknowledged write. */
const mostResumeMs = 30_000;

/**
 * fio writes and reads back with checksums, and a writer says when each of its lines was synced, while the
 * storage network is cut and joined again. Nothing may be lost or fail, and all goes on by itself.
 */
export async function cutWhileWriting(
  t: Test,
  network: StorageNetwork,
  seconds: number,
): Promise<void> {
  const storage = await kernelWorld.open(t, join(kernelWorld.directory, `cut${seconds}`));
  const { file, ...lun } = kernelWorld.lun(64);
  const volume = await storage.attach(attachSpec(network, lun), never);
  const { hostMount } = volume;
  const fio = spawn('fio', [
    ...['--name=cut', `--directory=${hostMount}`, '--size=8m', '--rw=randwrite', '--bs=4k'],
    ...['--ioengine=libaio', '--direct=1', '--iodepth=16', '--rate=512k', '--verify=crc32c'],
    ...['--verify_fatal=1', '--verify_state_save=0', '--output-format=terse'],
    ...['--time_based', `--runtime=${seconds + 5}`],
  ]);
  const fioEnded = once(fio, 'close');
  const loop =
    'i=0; while :; do i=$((i+1)); echo $i >> "$1" && sync "$1" && echo $i || exit 1; done';
  const writer = spawn('sh', ['-c', loop, 'sh', join(hostMount, 'lines')]);
  const writerEnded = once(writer, 'close');
  t.teardown(() => {
    fio.kill('SIGKILL');
    writer.kill('SIGKILL');
  });
  let last = 0;
  const lines = createInterface({ input: writer.stdout });
  lines.on('line', (line) => {
    last = Number(line);
  });
  const next = () => once(lines, 'line', { signal: AbortSignal.timeout(mostResumeMs) });
  while (last < 20) await next();

  network.cut();
  // The fault itself is a length of time.
  await pause(seconds * 1_000);
  const during = last;
  const [session] = await ourSessions();
  const [disk] = await disksOf(session?.name ?? '');
  t.equal(disk && (await diskState(disk)), 'blocked', 'the disk waits');
  t.same(await storage.observe(never), [volume], 'and is still the volume’s');
  network.restore();
  const backMs = performance.now();
  await next();
  t.ok(last > during, `writes go on ${Math.round(performance.now() - backMs)} ms after it is back`);
  const [code] = await fioEnded;
  t.equal(code, 0, 'fio read back all that it wrote');
  t.equal(writer.exitCode, null, 'no write has failed');
  writer.kill('SIGKILL');
  await writerEnded;
  const kept = readFileSync(join(hostMount, 'lines'), 'utf8').trim().split('\n').map(Number);
  t.ok(
    kept.length >= last && kept.every((line, at) => line === at + 1),
    `all ${last} acknowledged lines are there`,
  );
  t.same(await storage.observe(never), [volume], 'by the same data path');
  await storage.detach('web1', 0, never);
  execFileSync('e2fsck', ['-fn', file], { stdio: 'pipe' });
  t.pass('the file system is whole');
}
