import { randomBytes } from 'node:crypto';
import { existsSync, readdirSync, readFileSync, readlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'tap';
import type { AttachedVolume } from '../../src/storage/types.js';
import { codeOf, freshTarget, storageIn, userWorld } from './attached.js';
import { attachSpec, backingFileBelow, startLunServer, until } from './lun-server.js';
import { refusalCases } from './refusal-cases.js';
import { mountedAt, storageCases, volumeFolders, writeThrough } from './storage-cases.js';

const never = new AbortController().signal;
function processOf(runDirectory: string, { personality, lun }: AttachedVolume): number {
  const state = readFileSync(
    join(runDirectory, 'blk', personality, String(lun), 'state.json'),
    'utf8',
  );
  return (JSON.parse(state) as { process: { pid: number } }).process.pid;
}

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

/** Disk processes that carry a volume of a run directory; idle ones carry none. */
function diskProcesses(runDirectory: string): readonly string[] {
  return readdirSync('/proc').filter((pid) => {
    try {
      const home = readlinkSync(`/proc/${pid}/cwd`);
      return home.startsWith(join(runDirectory, 'blk')) && !home.includes('/.idle-');
    } catch {
      return false;
    }
  });
}

test('volumes of the user backend', async (t) => {
  const server = await startLunServer(t);
  const run = (name: string) => join(server.directory, name);

  await storageCases(t, {
    ...userWorld(server),
    gone: async (runDirectory, { device }) => {
      await until(() => diskProcesses(runDirectory).length === 0);
      await until(() => backingFileBelow(runDirectory, device) === undefined);
    },
  });

  await refusalCases(t, userWorld(server));

  await t.test('a killed disk process is noticed', async (t) => {
    const storage = await storageIn(t, run('killed'));
    const { name } = freshTarget(server);
    const spec = attachSpec(server, { target: name });
    const volume = await storage.attach(spec, never);
    writeThrough(join(volume.hostMount, 'note'), 'kept');
    const pid = processOf(run('killed'), volume);
    process.kill(pid, 'SIGKILL');
    await until(() => !existsSync(`/proc/${pid}/exe`));
    t.same(await storage.observe(never), []);
    t.notOk(mountedAt(run('killed')), 'what was left of it is taken down');
    const again = await storage.attach({ ...spec, epoch: 2 }, never);
    t.equal(readFileSync(join(again.hostMount, 'note'), 'utf8'), 'kept');
    await storage.detach('web1', 0, never);
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
