import { execFileSync, spawn } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import {
  closeSync,
  existsSync,
  fsyncSync,
  openSync,
  readdirSync,
  readFileSync,
  statSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { test } from 'tap';
import type { AttachedVolume, AttachSpec } from '../../src/storage/types.js';
import { codeOf, freshTarget, storageIn } from './attached.js';
import { attachSpec, backingFileBelow, startLunServer, until } from './lun-server.js';

const never = new AbortController().signal;
function processOf(runDirectory: string, { personality, lun }: AttachedVolume): number {
  const state = readFileSync(
    join(runDirectory, 'blk', personality, String(lun), 'state.json'),
    'utf8',
  );
  return (JSON.parse(state) as { process: { pid: number } }).process.pid;
}

const volumeFolders = (runDirectory: string) =>
  readdirSync(join(runDirectory, 'blk')).filter((name) => !name.startsWith('.idle-'));

const mountedAt = (path: string) => readFileSync('/proc/self/mountinfo', 'utf8').includes(path);

/** Whether a process has a child of that name, or a child of a child. */
function isRunning(program: string, parent = process.pid): boolean {
  try {
    const children = readFileSync(`/proc/${parent}/task/${parent}/children`, 'utf8').trim();
    return children.split(' ').some((pid) => {
      if (pid === '') return false;
      const name = readFileSync(`/proc/${pid}/comm`, 'utf8').trim();
      return name === program || isRunning(program, Number(pid));
    });
  } catch {
    // One of them has ended meanwhile.
    return false;
  }
}

function write(path: string, text: string): void {
  const fd = openSync(path, 'w');
  writeSync(fd, text);
  fsyncSync(fd);
  closeSync(fd);
}

test('volumes of the user backend', async (t) => {
  const server = await startLunServer(t);
  const run = (name: string) => join(server.directory, name);

  await t.test('a blank LUN gets a file system; what is written is there again', async (t) => {
    const storage = await storageIn(t, run('a'));
    const { name, file } = freshTarget(server);
    const spec = attachSpec(server, { target: name });
    await storage.warm(spec, never);
    const first = await storage.attach(spec, never);
    t.match(first, { epoch: 1, serial: /^serial-/, sizeBytes: 64 * 1024 * 1024 });
    t.equal(first.hostMount, join(run('a'), 'web1', '0'));
    write(join(first.hostMount, 'note'), 'kept');
    t.same(await storage.attach(spec, never), first, 'again: the same');
    t.same(await storage.observe(never), [first]);
    t.same(await Promise.all([storage.observe(never), storage.observe(never)]), [[first], [first]]);
    const pid = processOf(run('a'), first);

    await storage.detach('web1', 0, never);
    t.notOk(existsSync(`/proc/${pid}/exe`), 'the disk process is gone');
    t.notOk(mountedAt(run('a')), 'nothing is mounted');
    t.notOk(backingFileBelow(run('a'), first.device), 'the loop device is let go');
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
    const storage = await storageIn(t, run('b'));
    const { name, file } = freshTarget(server);
    const spec = attachSpec(server, { target: name });
    const refused = async (change: Partial<AttachSpec>, code: string) => {
      t.equal(await codeOf(storage.attach({ ...spec, ...change }, never)), code);
      t.same(volumeFolders(run('b')), [], `${code}: nothing is left`);
    };
    await refused({ target: `${name}x` }, 'US_STORAGE_TARGET_NOT_FOUND');
    await refused({ targetLun: 5 }, 'US_STORAGE_LUN_NOT_FOUND');
    await refused({ targetLun: 0 }, 'US_STORAGE_LUN_NOT_FOUND');
    await refused({ recordedSerial: 'another' }, 'US_STORAGE_IDENTITY');
    await refused({ portals: ['127.0.0.1:3998'] }, 'US_STORAGE_UNREACHABLE');
    await refused({ format: 'never' }, 'US_STORAGE_FILESYSTEM');
    await refused({ personality: '../x' }, 'US_STORAGE_NAME');
    await refused({ personality: 'blk' }, 'US_STORAGE_NAME');
    t.equal(statSync(file).blocks, 0, 'nothing was written');
    t.equal(
      await codeOf(storage.warm({ ...spec, portals: ['127.0.0.1:3998'] }, never)),
      'US_STORAGE_UNREACHABLE',
    );
  });

  await t.test('a LUN that holds anything is never formatted', async (t) => {
    const storage = await storageIn(t, run('c'));
    const { name, file } = freshTarget(server);
    const spec = attachSpec(server, { target: name });
    const size = statSync(file).size;
    const places = [0, 4096, 1024 * 1024 - 1, size - 1024 * 1024, size - 1];
    for (const at of places) {
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
    for (const [made, wanted] of [
      ['xfs', 'ext4'],
      ['ext4', 'xfs'],
    ] as const) {
      const { name, file } = freshTarget(server, 320 * 1024 * 1024);
      execFileSync(`mkfs.${made}`, ['-q', file]);
      const sum = sha256(file);
      const refused = storage.attach({ ...spec, target: name, filesystem: wanted }, never);
      await t.rejects(refused, { code: 'US_STORAGE_FILESYSTEM', reason: new RegExp(made) });
      t.equal(sha256(file), sum, `${made} stays as it is`);
    }
  });

  await t.test('a restarted agent adopts; a killed disk process is noticed', async (t) => {
    const storage = await storageIn(t, run('d'));
    const { name } = freshTarget(server);
    const spec = attachSpec(server, { target: name });
    const volume = await storage.attach(spec, never);
    write(join(volume.hostMount, 'note'), 'kept');
    await storage.stop();

    const second = await storageIn(t, run('d'));
    t.same(await second.observe(never), [volume]);
    t.same(await second.attach(spec, never), volume);

    const pid = processOf(run('d'), volume);
    process.kill(pid, 'SIGKILL');
    await until(() => !existsSync(`/proc/${pid}/exe`));
    t.same(await second.observe(never), []);
    t.notOk(mountedAt(run('d')), 'what was left of it is taken down');
    const again = await second.attach({ ...spec, epoch: 2 }, never);
    t.equal(readFileSync(join(again.hostMount, 'note'), 'utf8'), 'kept');
    await second.detach('web1', 0, never);
  });

  await t.test('a volume in use cannot be detached, and whoever uses it is named', async (t) => {
    const storage = await storageIn(t, run('e'));
    const { name, file } = freshTarget(server);
    const volume = await storage.attach(attachSpec(server, { target: name }), never);
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
    await until(() => backingFileBelow(run('e'), volume.device) === undefined);
  });

  await t.test('what somebody else wrote to a copy of the mount is on the disk', async (t) => {
    const storage = await storageIn(t, run('copy'));
    const { name } = freshTarget(server);
    const spec = attachSpec(server, { target: name });
    const { hostMount, device } = await storage.attach(spec, never);
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
    await until(() => backingFileBelow(run('copy'), device) === undefined);
  });

  await t.test('an abort works while the target is frozen', async (t) => {
    const storage = await storageIn(t, run('f'));
    const { name } = freshTarget(server);
    const volume = await storage.attach(attachSpec(server, { target: name }), never);
    writeFileSync(join(volume.hostMount, 'dirty'), randomBytes(1024 * 1024));
    process.kill(server.pid, 'SIGSTOP');
    try {
      const detached = codeOf(storage.detach('web1', 0, never));
      await until(() => isRunning('sync'));
      await storage.abort('web1', 0, never);
      t.equal(await detached, 'US_STORAGE_ABORTED');
      t.same(await storage.observe(never), []);
      t.notOk(mountedAt(run('f')));
    } finally {
      process.kill(server.pid, 'SIGCONT');
    }
  });

  await t.test('an abort ends an attach that is under way', async (t) => {
    const storage = await storageIn(t, run('g'));
    const { name } = freshTarget(server);
    process.kill(server.pid, 'SIGSTOP');
    try {
      const attached = storage.attach(attachSpec(server, { target: name }), never);
      const code = codeOf(attached);
      await until(
        () => existsSync(join(run('g'), 'blk')) && readdirSync(join(run('g'), 'blk')).length > 0,
      );
      await storage.abort('web1', 0, never);
      t.equal(await code, 'US_STORAGE_ABORTED');
      t.same(volumeFolders(run('g')), []);
    } finally {
      process.kill(server.pid, 'SIGCONT');
    }
  });
});

function sha256(file: string): string {
  return createHash('sha256').update(readFileSync(file)).digest('hex');
}
