import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { type Test, test } from 'tap';
import { codeOf, freshTarget, storageIn } from './attached.js';
import { attachSpec, startLunServer } from './lun-server.js';

const never = new AbortController().signal;

/** A process in a mount namespace that nothing propagates to; it does a script's line for each of ours. */
async function hermit(t: Test, script: string): Promise<{ go(): Promise<string> }> {
  const argv = ['--mount', '--propagation', 'private', 'bash', '-c', `echo up\n${script}`];
  const child = spawn('unshare', argv, { stdio: ['pipe', 'pipe', 'inherit'] });
  t.teardown(() => ended(child));
  await once(child.stdout as NodeJS.ReadableStream, 'data');
  return {
    go: async () => {
      child.stdin?.write('\n');
      const [said] = (await once(child.stdout as NodeJS.ReadableStream, 'data')) as [Buffer];
      return said.toString().trim();
    },
  };
}

async function ended(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const gone = once(child, 'exit');
  child.kill('SIGKILL');
  await gone;
}

test('what has a disk in a mount namespace of its own goes on writing', async (t) => {
  const server = await startLunServer(t);
  for (const filesystem of ['ext4', 'xfs', 'none'] as const) {
    await t.test(filesystem, async (t) => {
      const storage = await storageIn(t, join(server.directory, filesystem));
      // xfs is no smaller than 300 MiB.
      const { name } = freshTarget(server, (filesystem === 'xfs' ? 320 : 64) * 1024 * 1024);
      const spec = attachSpec(server, { target: name, filesystem });
      const volume = await storage.attach(spec, never);
      const file = filesystem === 'none' ? volume.hostMount : join(volume.hostMount, 'note');
      const user = await hermit(
        t,
        `exec 7<> '${file}'; read; echo late >&7; sync '${file}' && echo written || echo lost; exec 7>&-; read`,
      );
      t.equal(await codeOf(storage.detach('web1', 0, never)), 'US_STORAGE_BUSY');
      t.same(await storage.observe(never), [volume], 'it is as it was');
      t.equal(await user.go(), 'written');
      t.same(await storage.observe(never), [volume]);
    });
  }
});
