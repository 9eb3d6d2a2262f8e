import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { type Test, test } from 'tap';
import { IscsiSession } from '../../src/storage/iscsi-session.js';
import { TgtMask } from '../../src/storage/tgt-mask.js';
import { initiatorName } from '../../src/storage/types.js';
import { UserStorage } from '../../src/storage/user-storage.js';
import { attachSpec, end, enterOwnNamespace, until } from './lun-server.js';

const never = new AbortController().signal;
const port = 3320;
const target = 'iqn.2026-11.test:restart';
const owner = initiatorName('test', 'web1', 'h1', 1);

/** tgtd with one target that lets in nobody, as its own start script would define it. */
async function startTarget(folder: string, file: string): Promise<ChildProcess> {
  const env = { ...process.env, TGT_IPC_SOCKET: join(folder, 'tgt') };
  const options = ['-f', '-C', String(port), '--iscsi', `portal=127.0.0.1:${port}`];
  const child = spawn('tgtd', options, { stdio: 'ignore', env });
  const admin = (...args: string[]) =>
    execFileSync('tgtadm', ['-C', String(port), '--lld', 'iscsi', ...args], { env, stdio: 'pipe' });
  await until(() => {
    try {
      admin('--op', 'show', '--mode', 'target');
      return true;
    } catch {
      return false;
    }
  });
  admin('--op', 'new', '--mode', 'target', '--tid', '1', '-T', target);
  admin('--op', 'new', '--mode', 'logicalunit', '--tid', '1', '--lun', '1', '-b', file);
  return child;
}

/** Writes lines for ever, and says each when it was synced. */
async function writer(t: Test, path: string) {
  const script = `i=0; while :; do i=$((i+1)); echo $i >> ${path} && sync ${path} && echo $i; done`;
  const child = spawn('sh', ['-c', script], { stdio: ['ignore', 'pipe', 'inherit'] });
  t.teardown(() => end(child));
  const told = { last: 0 };
  createInterface({ input: child.stdout }).on('line', (line) => {
    told.last = Number(line);
  });
  await until(() => told.last >= 20);
  return { child, told };
}

test('a target that dies under writes, and comes back with no mask', async (t) => {
  enterOwnNamespace(t);
  const folder = mkdtempSync('/dev/shm/ustest-storage-');
  t.teardown(() => rmSync(folder, { recursive: true, force: true }));
  const file = join(folder, 'lun');
  execFileSync('truncate', ['-s', '64M', file]);
  const mask = new TgtMask({
    controlPort: port,
    ipcSocket: join(folder, 'tgt'),
    ledgerFile: join(folder, 'epochs.json'),
  });
  const order = { target, epoch: 1, initiator: owner, personality: 'web1' };
  const first = await startTarget(folder, file);
  await mask.apply(order, never);
  const runDirectory = join(folder, 'h1');
  mkdirSync(runDirectory);
  const storage = new UserStorage({ runDirectory });
  await storage.start(never);
  const spec = attachSpec({ portal: `127.0.0.1:${port}` }, { target });
  const volume = await storage.attach(spec, never);
  t.teardown(async () => {
    await storage.abort('web1', 0, never);
    await storage.stop();
  });
  const lines = join(volume.hostMount, 'lines');
  const { child, told } = await writer(t, lines);

  await end(first);
  const second = await startTarget(folder, file);
  t.teardown(() => end(second));
  const login = IscsiSession.login([`127.0.0.1:${port}`], target, owner);
  await t.rejects(login, { code: 'US_STORAGE_TARGET_NOT_FOUND' }, 'it lets in nobody');
  t.equal(await mask.holds(order, never), false, 'which is noticed');
  const before = told.last;
  await mask.apply(order, never);
  await until(() => told.last > before + 20, 30_000);
  t.pass('the writer goes on by itself');
  await end(child);
  const kept = readFileSync(lines, 'utf8').trim().split('\n').map(Number);
  t.ok(
    kept.length >= told.last && kept.every((line, index) => line === index + 1),
    'no line is lost',
  );
  await storage.detach('web1', 0, never);
  execFileSync('e2fsck', ['-fn', file], { stdio: 'pipe' });
});
