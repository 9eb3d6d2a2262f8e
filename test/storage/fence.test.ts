import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import {
  closeSync,
  fsyncSync,
  mkdirSync,
  openSync,
  readFileSync,
  rmSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { join } from 'node:path';
import { type Test, test } from 'tap';
import { DiskProcess, endProcess } from '../../src/storage/disk-process.js';
import { bindLoop, releaseLoop } from '../../src/storage/loop-device.js';
import { UserStorage } from '../../src/storage/user-storage.js';
import { userWorld } from './attached.js';
import { lazyTables } from './lazy-tables.js';
import { attachSpec, end, startLunServer, until } from './lun-server.js';

const never = new AbortController().signal;

/** A storage adapter for one host; whatever it attached is gone after the test. */
async function hostStorage(t: Test, runDirectory: string): Promise<UserStorage> {
  mkdirSync(runDirectory, { recursive: true });
  const storage = new UserStorage({ runDirectory });
  await storage.start(never);
  t.teardown(async () => {
    for (const { personality, lun } of await storage.observe(never)) {
      await storage.abort(personality, lun, never);
    }
    await storage.stop();
    rmSync(runDirectory, { recursive: true, force: true });
  });
  return storage;
}

test('what reads as zero is zero, on a LUN full of garbage', async (t) => {
  const server = await startLunServer(t, 3261);
  const target = 'iqn.2026-11.test:garbage';
  const file = server.addTarget({ tid: 1, name: target });
  writeFileSync(file, Buffer.alloc(64 * 1024 * 1024, 0xa5), { flag: 'r+' });
  const directory = join(server.directory, 'disk');
  const process_ = await DiskProcess.start(directory, 5_000);
  t.teardown(async () => {
    process_.leave();
    await endProcess(process_.identity, 'SIGTERM', 2_000);
  });
  const mountPoint = join(directory, 'lun.img');
  writeFileSync(mountPoint, '');
  const initiator = 'iqn.2026-11.test:me';
  const path = { portal: server.portal, target, lun: 1, initiator };
  await process_.open({ ...path, chap: undefined, readOnly: false }, 5_000);
  const exposed = await process_.expose(mountPoint, 5_000);
  const loop = await bindLoop(exposed, { blockSizeBytes: 512, readOnly: false }, never);
  t.teardown(async () => {
    await loop.close();
    await releaseLoop(loop.index, mountPoint);
  });
  const at = (offset: number) => readFileSync(file).subarray(offset, offset + 65536);
  const isZero = (bytes: Buffer) => bytes.every((byte) => byte === 0);

  let punched = true;
  try {
    execFileSync('fallocate', ['-p', '-o', '8388608', '-l', '65536', loop.path], {
      stdio: 'ignore',
    });
  } catch {
    punched = false;
  }
  t.equal(isZero(at(8388608)), punched, 'a hole is zero, or refused');
  execFileSync('fallocate', ['-z', '-o', '16777216', '-l', '65536', loop.path]);
  execFileSync('sync', [loop.path]);
  t.ok(isZero(at(16777216)), 'zeroed blocks are zero');

  // Eager, so that there is nothing to wait for: the kernel's lazy zeroing uses the same request.
  execFileSync('mkfs.ext4', ['-q', '-F', '-E', 'nodiscard,lazy_itable_init=0', loop.path]);
  execFileSync('sync', [loop.path]);
  const tables = execFileSync('dumpe2fs', [loop.path], {
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'ignore'],
  });
  const blockSize = Number(/^Block size:\s+(\d+)/m.exec(tables)?.[1]);
  const ranges = [...tables.matchAll(/Inode table at (\d+)-(\d+)/g)];
  t.ok(ranges.length > 1);
  const disk = readFileSync(file);
  for (const [, first, last] of ranges.slice(1)) {
    const table = disk.subarray(Number(first) * blockSize, (Number(last) + 1) * blockSize);
    t.ok(isZero(table), `inode table at block ${first} holds no old byte`);
  }
  execFileSync('e2fsck', ['-fn', loop.path], { stdio: 'ignore' });
});

test('the kernel too zeroes what ext4 believes zeroed (lazy inode tables)', async (t) =>
  lazyTables(t, userWorld(await startLunServer(t, 3262))));

test('fsync in the volume makes the target flush', async (t) => {
  const server = await startLunServer(t, 3263);
  const target = 'iqn.2026-11.test:flush';
  server.addTarget({ tid: 1, name: target });
  const storage = await hostStorage(t, join(server.directory, 'h1'));
  const volume = await storage.attach(attachSpec(server, { target }), never);
  const trace = join(server.directory, 'trace');
  const strace: ChildProcess = spawn(
    'strace',
    ['-f', '-e', 'trace=fsync,fdatasync', '-o', trace, '-p', String(server.pid)],
    { stdio: ['ignore', 'ignore', 'pipe'] },
  );
  t.teardown(() => end(strace));
  let said = '';
  strace.stderr?.on('data', (text: Buffer) => {
    said += text.toString();
  });
  await until(() => /attached/.test(said) || strace.exitCode !== null);
  if (strace.exitCode !== null) {
    t.pass('fsync', { skip: `strace cannot look at tgtd here: ${said.trim()}` });
    return;
  }
  const file = openSync(join(volume.hostMount, 'note'), 'w');
  writeSync(file, 'kept');
  fsyncSync(file);
  closeSync(file);
  await until(() => /f(data)?sync\(\d+\)\s+= 0/.test(readFileSync(trace, 'utf8')));
  t.pass('fsync reached the backing file');
  strace.kill('SIGTERM');
  await storage.detach('web1', 0, never);
});
