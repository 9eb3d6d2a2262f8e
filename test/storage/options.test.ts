import { execFileSync } from 'node:child_process';
import {
  chmodSync,
  existsSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { test } from 'tap';
import type { AttachSpec } from '../../src/storage/types.js';
import { freshTarget, storageIn } from './attached.js';
import { attachSpec, type LunServer, startLunServer, until } from './lun-server.js';

const never = new AbortController().signal;

test('CHAP: the secret is seen nowhere', async (t) => {
  const server = await startLunServer(t);
  const storage = await storageIn(t, join(server.directory, 'a'));
  const { tid, name } = freshTarget(server);
  const ours = 'secret-of-the-host';
  const theirs = 'secret-of-the-target';
  account(server, tid, 'host-user', ours);
  account(server, tid, 'target-user', theirs, '--outgoing');
  const put = (name: string, text: string, mode = 0o600) => {
    const path = join(server.directory, name);
    writeFileSync(path, text, { mode });
    chmodSync(path, mode);
    return path;
  };
  const chap = { user: 'host-user', secretFile: put('ours', `${ours}\n`) };
  const mutual = { user: 'target-user', secretFile: put('theirs', theirs) };
  const attach = (chap: AttachSpec['chap'], epoch = 1) =>
    storage.attach(attachSpec(server, { target: name, epoch, chap }), never);

  const volume = await attach({ ...chap, mutual });
  writeFileSync(join(volume.hostMount, 'note'), 'kept', { flush: true });
  for (const [where, text] of everythingOf(join(server.directory, 'a'))) {
    t.notOk(text.includes(ours) || text.includes(theirs), `no secret in ${where}`);
  }
  await storage.detach('web1', 0, never);
});

test('an IPv6 portal', async (t) => {
  const server = await startLunServer(t, 3261, '[::1]');
  const storage = await storageIn(t, join(server.directory, 'b'));
  const { name } = freshTarget(server);
  const spec = attachSpec(server, { target: name });
  t.equal(spec.portals[0], '[::1]:3261');
  await storage.warm(spec, never);
  const volume = await storage.attach(spec, never);
  writeFileSync(join(volume.hostMount, 'note'), 'kept', { flush: true });
  await storage.detach('web1', 0, never);
  const second = await storage.attach(
    { ...spec, epoch: 2, portals: ['[::1]:3999', ...spec.portals] },
    never,
  );
  t.equal(
    readFileSync(join(second.hostMount, 'note'), 'utf8'),
    'kept',
    'the second portal is taken',
  );
  await storage.detach('web1', 0, never);
});

test('what a volume may hold', async (t) => {
  const server = await startLunServer(t, 3262);
  const storage = await storageIn(t, join(server.directory, 'c'));

  await t.test('one that nobody keeps is taken down', async (t) => {
    const { name } = freshTarget(server);
    const change = { target: name, filesystem: 'none', format: 'never' } as const;
    const runDirectory = join(server.directory, 'raw');
    const raw = await storageIn(t, runDirectory);
    const { hostMount } = await raw.attach(attachSpec(server, change), never);
    const state = readFileSync(join(runDirectory, 'blk/web1/0/state.json'), 'utf8');
    process.kill((JSON.parse(state) as { holder: { pid: number } }).holder.pid, 'SIGKILL');
    await until(async () => (await raw.observe(never)).length === 0);
    t.notOk(existsSync(hostMount));
  });

  await t.test('XFS is made, mounted and found again', async (t) => {
    const { name } = freshTarget(server, 320 * 1024 * 1024);
    const spec = attachSpec(server, { target: name, filesystem: 'xfs' });
    const first = await storage.attach(spec, never);
    writeFileSync(join(first.hostMount, 'note'), 'kept', { flush: true });
    await storage.abort('web1', 0, never);
    const again = await storage.attach({ ...spec, epoch: 2, format: 'never' }, never);
    t.equal(
      readFileSync(join(again.hostMount, 'note'), 'utf8'),
      'kept',
      'after its log was replayed',
    );
    await storage.detach('web1', 0, never);
  });
});

function account(
  server: LunServer,
  tid: number,
  user: string,
  password: string,
  ...more: string[]
): void {
  const mode = ['--mode', 'account', '--user', user];
  server.tgtadm('--op', 'new', ...mode, '--password', password);
  server.tgtadm('--op', 'bind', ...mode, '--tid', String(tid), ...more);
}

/** Arguments and environment of each disk process of a run directory, and every file in there. */
function everythingOf(runDirectory: string): readonly (readonly [string, string])[] {
  const found: (readonly [string, string])[] = [];
  for (const pid of readdirSync('/proc').filter((name) => /^\d+$/.test(name))) {
    try {
      if (!readlinkSync(`/proc/${pid}/cwd`).startsWith(runDirectory)) continue;
    } catch {
      continue;
    }
    for (const name of ['cmdline', 'environ']) {
      found.push([name, readFileSync(`/proc/${pid}/${name}`, 'latin1')]);
    }
  }
  const files = execFileSync('find', [join(runDirectory, 'blk'), '-type', 'f', '-size', '-1M']);
  for (const path of files.toString().trim().split('\n')) {
    found.push([path, readFileSync(path, 'latin1')]);
  }
  return found;
}
