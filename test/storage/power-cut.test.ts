import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { test } from 'tap';
import { reapLoops } from '../../src/storage/loop-device.js';
import type { AttachedVolume } from '../../src/storage/types.js';
import { UserStorage } from '../../src/storage/user-storage.js';
import { attachSpec, backingFileBelow, end, startLunServer, until } from './lun-server.js';

const never = new AbortController().signal;

/** Processes whose working directory is below a folder: the disk processes of that host. */
function processesIn(folder: string): string[] {
  return readdirSync('/proc').filter((pid) => {
    try {
      return /^\d+$/.test(pid) && readlinkSync(`/proc/${pid}/cwd`).startsWith(folder);
    } catch {
      return false;
    }
  });
}

test('a power cut leaves nothing on the host and flushes nothing', async (t) => {
  const server = await startLunServer(t);
  const target = 'iqn.2026-11.test:cut';
  server.addTarget({ tid: 1, name: target });
  const runDirectory = join(server.directory, 'h1');
  mkdirSync(runDirectory);
  const spec = attachSpec(server, { target });
  const script = fileURLToPath(new URL('./attach-host.js', import.meta.url));
  // The host: namespaces of its own, as in the lab; killing their first process ends all in them at
  // once. That first process is not the agent: it leaves the mount namespace before it kills the
  // others (kernel/exit.c), and were it the last one there, the volume would be unmounted in order.
  const host = spawn(
    'unshare',
    [
      ...['--mount', '--pid', '--fork', '--kill-child', '--mount-proc'],
      ...['sh', '-c', '"$@" & wait', 'sh'],
      ...[process.execPath, script, JSON.stringify({ runDirectory, spec })],
    ],
    { stdio: ['ignore', 'pipe', 'inherit'] },
  );
  t.teardown(() => end(host));
  const [said] = (await once(host.stdout, 'data')) as [Buffer];
  const volume = JSON.parse(said.toString()) as AttachedVolume;
  const backing = () => backingFileBelow(server.directory, volume.device);
  t.ok(backing());
  t.equal(processesIn(runDirectory).length, 1);

  await end(host);
  await until(() => processesIn(runDirectory).length === 0);
  await until(() => backing() === undefined);
  t.pass('disk process and block device are gone');

  const run2 = join(server.directory, 'h2');
  mkdirSync(run2);
  const storage = new UserStorage({ runDirectory: run2 });
  await storage.start(never);
  t.teardown(async () => {
    await storage.abort('web1', 0, never);
    await storage.stop();
  });
  const taken = await storage.attach({ ...spec, host: 'h2', epoch: 2 }, never);
  t.equal(readFileSync(join(taken.hostMount, 'synced'), 'utf8'), 'kept');
  t.notOk(existsSync(join(taken.hostMount, 'dirty')), 'what was not synced is lost');
  await storage.detach('web1', 0, never);
  await reapLoops();
});
