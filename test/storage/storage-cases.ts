import { execFileSync, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import {
  closeSync,
  existsSync,
  fsyncSync,
  openSync,
  readdirSync,
  readFileSync,
  readSync,
  statSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import type { Test } from 'tap';
import type { AttachedVolume, AttachSpec, StorageAdapter } from '../../src/storage/types.js';
import { codeOf } from './attached.js';
import { attachSpec, until } from './lun-server.js';

const never = new AbortController().signal;
const mebibyte = 1024 * 1024;

export interface FreshLun {
  readonly target: string;
  readonly targetLun: number;
  /** Its bytes. */
  readonly file: string;
}

/** What the compliance suite of storage backends needs of one of them, with a real target. */
export interface StorageWorld {
  readonly portal: string;
  /** For run directories. */
  readonly directory: string;
  /** A LUN number that the target has nothing for. */
  readonly missingLun: number;
  /** Started; what it attached ends with the test. */
  open(t: Test, runDirectory: string): Promise<StorageAdapter>;
  /** A blank LUN, of 64 MiB where nothing is said. */
  lun(sizeMiB?: number): FreshLun;
  /** Waits until nothing on this host carries the volume any more: no process, device or session. */
  gone(runDirectory: string, volume: AttachedVolume): Promise<void>;
}

export const volumeFolders = (runDirectory: string) =>
  readdirSync(join(runDirectory, 'blk')).filter((name) => !name.startsWith('.'));

export const mountedAt = (path: string) =>
  readFileSync('/proc/self/mountinfo', 'utf8').includes(path);

export function writeThrough(path: string, text: string): void {
  writeFileSync(path, text, { flush: true });
}

/** The compliance suite: what each storage backend does. */
export async function storageCases(t: Test, world: StorageWorld): Promise<void> {
  const run = (name: string) => join(world.directory, name);
  const fresh = () => {
    const { file, ...lun } = world.lun();
    return { file, spec: attachSpec(world, lun) };
  };

  await t.test('a blank LUN gets a file system; what is written is there again', async (t) => {
    const storage = await world.open(t, run('a'));
    const { spec, file } = fresh();
    await storage.warm(spec, never);
    const first = await storage.attach(spec, never);
    t.match(first, { epoch: 1, sizeBytes: 64 * mebibyte });
    t.not(first.serial, '');
    t.equal(first.hostMount, join(run('a'), 'web1', '0'));
    writeThrough(join(first.hostMount, 'note'), 'kept');
    t.same(await storage.attach(spec, never), first, 'again: the same');
    t.same(await storage.observe(never), [first]);
    t.same(await Promise.all([storage.observe(never), storage.observe(never)]), [[first], [first]]);

    await storage.detach('web1', 0, never);
    await world.gone(run('a'), first);
    t.notOk(mountedAt(run('a')), 'nothing is mounted');
    t.notOk(existsSync(first.hostMount));
    t.same(await storage.observe(never), []);
    t.ok(statSync(file).blocks > 0);

    const again = await storage.attach({ ...spec, epoch: 2, format: 'never' }, never);
    t.equal(readFileSync(join(again.hostMount, 'note'), 'utf8'), 'kept');
    t.equal(await codeOf(storage.attach(spec, never)), 'US_STORAGE_STALE_EPOCH');
    await storage.detach('web1', 0, never);
    await storage.detach('web1', 0, never);
  });

  await t.test('refused, and nothing is left', async (t) => {
    const storage = await world.open(t, run('b'));
    const { spec, file } = fresh();
    const refused = async (change: Partial<AttachSpec>, code: string) => {
      t.equal(await codeOf(storage.attach({ ...spec, ...change }, never)), code);
      t.same(volumeFolders(run('b')), [], `${code}: nothing is left`);
    };
    await refused({ target: `${spec.target}x` }, 'US_STORAGE_TARGET_NOT_FOUND');
    await refused({ targetLun: world.missingLun }, 'US_STORAGE_LUN_NOT_FOUND');
    await refused({ recordedSerial: 'another' }, 'US_STORAGE_IDENTITY');
    await refused({ portals: ['127.0.0.1:3998'] }, 'US_STORAGE_UNREACHABLE');
    await refused({ format: 'never' }, 'US_STORAGE_FILESYSTEM');
    await refused({ personality: '../x' }, 'US_STORAGE_NAME');
    await refused({ personality: 'blk' }, 'US_STORAGE_NAME');
    t.equal(statSync(file).blocks, 0, 'nothing was written');
    const unreachable = { ...spec, portals: ['127.0.0.1:3998'] };
    t.equal(await codeOf(storage.warm(unreachable, never)), 'US_STORAGE_UNREACHABLE');
  });

  await t.test('a LUN that holds anything is never formatted', async (t) => {
    const storage = await world.open(t, run('c'));
    const { spec, file } = fresh();
    const size = statSync(file).size;
    for (const at of [0, 4096, mebibyte - 1, size - mebibyte, size - 1]) {
      const fd = openSync(file, 'r+');
      writeSync(fd, 'x', at);
      t.equal(await codeOf(storage.attach(spec, never)), 'US_STORAGE_FILESYSTEM', `byte ${at}`);
      writeSync(fd, '\0', at);
      closeSync(fd);
    }
    execFileSync('mkfs.ext2', ['-q', '-F', file]);
    const before = readFileSync(file);
    t.equal(await codeOf(storage.attach(spec, never)), 'US_STORAGE_FILESYSTEM', 'another type');
    t.ok(readFileSync(file).equals(before));
  });

  await t.test('a restarted agent adopts', async (t) => {
    const storage = await world.open(t, run('d'));
    const { spec } = fresh();
    const volume = await storage.attach(spec, never);
    writeThrough(join(volume.hostMount, 'note'), 'kept');
    await storage.stop();

    const second = await world.open(t, run('d'));
    t.same(await second.observe(never), [volume]);
    t.same(await second.attach(spec, never), volume);
    const again = await second.attach({ ...spec, epoch: 2 }, never);
    t.equal(again.epoch, 2, 'a newer epoch gets a data path of its own');
    t.equal(readFileSync(join(again.hostMount, 'note'), 'utf8'), 'kept');
    await second.detach('web1', 0, never);
    await world.gone(run('d'), again);
  });

  await t.test('a volume in use cannot be detached, and whoever uses it is named', async (t) => {
    const storage = await world.open(t, run('e'));
    const { spec, file } = fresh();
    const volume = await storage.attach(spec, never);
    const fd = openSync(join(volume.hostMount, 'open'), 'w');
    writeSync(fd, 'to be on the disk soon');
    await storage.flush('web1', 0, never);
    t.ok(readFileSync(file).includes('to be on the disk soon'), 'it can be flushed, though');
    await storage.flush('web1', 1, never);
    const thrown = await storage.detach('web1', 0, never).catch((error: unknown) => error);
    t.match(thrown, { code: 'US_STORAGE_BUSY', reason: new RegExp(`node \\(${process.pid}\\)`) });
    t.same(await storage.observe(never), [volume], 'it is as it was');

    await storage.abort('web1', 0, never);
    t.notOk(mountedAt(run('e')), 'an abort takes it all the same');
    t.throws(() => {
      writeSync(fd, 'late');
      fsyncSync(fd);
    }, 'and what is still open can no longer be written');
    closeSync(fd);
    await world.gone(run('e'), volume);
  });

  await t.test('what somebody else wrote to a copy of the mount is on the disk', async (t) => {
    const storage = await world.open(t, run('copy'));
    const { spec } = fresh();
    const volume = await storage.attach(spec, never);
    const { hostMount } = volume;
    const script = 'echo in; read -r _; echo late > "$1/note"; echo written; read -r _';
    const inside = ['--mount', '--propagation', 'private', 'sh', '-c', script, 'sh', hostMount];
    const other = spawn('unshare', inside, { stdio: ['pipe', 'pipe', 'inherit'] });
    const ended = once(other, 'exit');
    t.teardown(() => other.kill('SIGKILL'));
    const lines = createInterface({ input: other.stdout });
    await once(lines, 'line');
    const detached = storage.detach('web1', 0, never).catch((error: unknown) => error);
    await until(() => !mountedAt(hostMount));
    other.stdin.write('write\n');
    await once(lines, 'line');
    const reason = new RegExp(`sh \\(${other.pid}\\)`);
    t.match(await detached, { code: 'US_STORAGE_BUSY', reason });
    t.same(await storage.observe(never), [], 'then they are cut off');
    const again = await storage.attach({ ...spec, epoch: 2 }, never);
    t.equal(readFileSync(join(again.hostMount, 'note'), 'utf8'), 'late\n');
    await storage.detach('web1', 0, never);
    other.kill('SIGKILL');
    await ended;
    await world.gone(run('copy'), volume);
  });

  await t.test('a read-only volume is read, and not a byte changes', async (t) => {
    const storage = await world.open(t, run('ro'));
    const { spec, file } = fresh();
    const readOnly = { ...spec, access: 'read-only' } as const;
    t.equal(await codeOf(storage.attach(readOnly, never)), 'US_STORAGE_FILESYSTEM');
    t.equal(statSync(file).blocks, 0, 'a blank one is not formatted');
    const first = await storage.attach(spec, never);
    writeThrough(join(first.hostMount, 'note'), 'kept');
    const dirty = readFileSync(file);
    await storage.abort('web1', 0, never);
    t.equal(
      await codeOf(storage.attach({ ...readOnly, epoch: 2 }, never)),
      'US_STORAGE_JOURNAL',
      'what was not unmounted in order would have to be written to',
    );
    t.ok(readFileSync(file).equals(dirty), 'an abort writes nothing, either');
    await storage.attach({ ...spec, epoch: 3 }, never);
    await storage.detach('web1', 0, never);

    const before = readFileSync(file);
    const volume = await storage.attach({ ...readOnly, epoch: 4 }, never);
    t.equal(readFileSync(join(volume.hostMount, 'note'), 'utf8'), 'kept');
    t.throws(() => writeFileSync(join(volume.hostMount, 'new'), ''), { code: 'EROFS' });
    const zeros = ['if=/dev/zero', `of=${volume.device}`, 'count=1'];
    t.throws(() => execFileSync('dd', zeros, { stdio: 'ignore' }));
    await storage.detach('web1', 0, never);
    t.ok(readFileSync(file).equals(before), 'not a byte has changed');
  });

  await t.test('a volume without a file system is the device itself', async (t) => {
    const storage = await world.open(t, run('raw'));
    const fresher = fresh();
    const { file } = fresher;
    const spec = { ...fresher.spec, filesystem: 'none', format: 'never' } as const;
    writeFileSync(file, 'whatever', { flag: 'r+' });
    const first = await storage.attach(spec, never);
    t.same(await storage.attach(spec, never), first, 'again: the same');
    t.ok(statSync(first.hostMount).isBlockDevice());
    const start = (path: string) => {
      const fd = openSync(path, 'r');
      const bytes = Buffer.alloc(8);
      readSync(fd, bytes);
      closeSync(fd);
      return bytes.toString('latin1');
    };
    t.equal(start(first.hostMount), 'whatever');
    const options = ['bs=4096', 'conv=sync,fsync,notrunc', 'oflag=direct'];
    execFileSync('dd', [`of=${first.hostMount}`, ...options], { input: 'written!', stdio: 'pipe' });
    t.equal(start(file), 'written!');

    const second = await world.open(t, run('raw'));
    t.same(await second.observe(never), [first], 'a restarted agent adopts it');
    const fd = openSync(first.hostMount, 'r');
    t.equal(await codeOf(second.detach('web1', 0, never)), 'US_STORAGE_BUSY');
    closeSync(fd);
    await second.detach('web1', 0, never);
    t.notOk(existsSync(first.hostMount), 'nothing is left');
    await world.gone(run('raw'), first);

    const third = await second.attach({ ...spec, epoch: 2 }, never);
    t.equal(start(third.hostMount), 'written!');
    await second.abort('web1', 0, never);
    t.notOk(existsSync(third.hostMount));
    await world.gone(run('raw'), third);
  });

  await t.test('where zeros are asked for, zeros are read', async (t) => {
    const storage = await world.open(t, run('zeros'));
    const { spec } = fresh();
    const { hostMount } = await storage.attach(spec, never);
    const file = join(hostMount, 'garbage');
    writeFileSync(file, randomBytes(4 * mebibyte), { flush: true });
    const [from, length] = [mebibyte, 2 * mebibyte];
    execFileSync('fallocate', ['-z', '-o', String(from), '-l', String(length), file]);
    writeThrough(join(hostMount, 'then'), 'more');
    await storage.detach('web1', 0, never);
    const again = await storage.attach({ ...spec, epoch: 2 }, never);
    const read = readFileSync(join(again.hostMount, 'garbage')).subarray(from, from + length);
    t.ok(read.equals(Buffer.alloc(length)));
    await storage.detach('web1', 0, never);
  });
}
