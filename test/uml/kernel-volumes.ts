import { execFile, execFileSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import tap, { test } from 'tap';
import { disksOf, kernelSessions, removeDisk } from '../../src/storage/kernel-sessions.js';
import { type AttachSpec, initiatorName } from '../../src/storage/types.js';
import { codeOf } from '../storage/attached.js';
import { IscsiProxy } from '../storage/iscsi-proxy.js';
import { attachSpec, until } from '../storage/lun-server.js';
import { mountedAt, storageCases, volumeFolders, writeThrough } from '../storage/storage-cases.js';
import { initiatorLog, startInitiator } from './initiator.js';
import { freshLun, kernelWorld, ourSessions } from './kernel-world.js';
import { askForChap, lioPort, lioPortal, lioTarget, startLio } from './lio.js';

/** Run in a guest whose kernel has LIO and an iSCSI initiator: volumes by the latter. */
tap.setTimeout(200_000);
const never = new AbortController().signal;
const { directory, open } = kernelWorld;
const listed = promisify(execFile);

test('volumes of the kernel backend', async (t) => {
  startLio();
  startInitiator(t);
  const run = (name: string) => join(directory, name);
  const fresh = (change: Partial<AttachSpec> = {}) => {
    const { file, ...lun } = freshLun();
    return { file, spec: attachSpec({ portal: lioPortal }, { ...lun, ...change }) };
  };

  await storageCases(t, kernelWorld);

  await t.test(
    'the host sees the one LUN, by a name of its own, and waits as it is told',
    async (t) => {
      const storage = await open(t, run('seen'));
      const { spec } = fresh();
      const { device } = await storage.attach(spec, never);
      const [session] = await ourSessions();
      const name = session?.name ?? '';
      t.equal(session?.initiator, initiatorName('test', 'web1', 'h1', 1));
      const disks = await disksOf(name);
      t.same(
        disks.map((disk) => [`/dev/${disk.name}`, disk.lun]),
        [[device, spec.targetLun]],
      );
      const said = (file: string) =>
        readFileSync(`/sys/class/iscsi_session/${name}/${file}`, 'utf8').trim();
      t.equal(said('recovery_tmo'), 'off', 'what is written waits for the target');
      t.same([said('abort_tmo'), said('lu_reset_tmo'), said('tgt_reset_tmo')], ['5', '5', '5']);
      t.notOk(existsSync('/etc/iscsi/nodes'), 'no record among the user’s');
      t.notOk(existsSync('/etc/iscsi/ifaces'));
      await storage.detach('web1', 0, never);
    },
  );

  await t.test('two hosts have two names, whichever had the volume first', async (t) => {
    const [h1, h2] = [await open(t, run('h1')), await open(t, run('h2'))];
    const { spec } = fresh({ filesystem: 'none' });
    await h1.attach(spec, never);
    await h2.attach({ ...spec, host: 'h2', epoch: 2 }, never);
    const names = (await ourSessions()).map(({ initiator }) => initiator);
    t.same(
      new Set(names),
      new Set([initiatorName('test', 'web1', 'h1', 1), initiatorName('test', 'web1', 'h2', 2)]),
    );
    await h1.abort('web1', 0, never);
    t.same(
      (await ourSessions()).map(({ initiator }) => initiator),
      [initiatorName('test', 'web1', 'h2', 2)],
      'and what one ends is not the other’s',
    );
    t.equal((await h2.observe(never)).length, 1);
    await h2.detach('web1', 0, never);
  });

  await t.test(
    'CHAP: who has the secret gets the volume; it is in no argument and no open file',
    async (t) => {
      const storage = await open(t, run('chap'));
      const { spec } = fresh();
      const secretFile = '/run/lio/secret';
      writeFileSync(secretFile, 'another-secret', { mode: 0o600 });
      askForChap({ user: 'host', secret: 'secret-of-the-host' });
      t.teardown(() => askForChap(undefined));
      const chap = { user: 'host', secretFile };
      t.equal(await codeOf(storage.attach(spec, never)), 'US_STORAGE_CHAP', 'none');
      t.equal(
        await codeOf(storage.attach({ ...spec, chap }, never)),
        'US_STORAGE_CHAP',
        'a wrong one',
      );
      writeFileSync(secretFile, 'secret-of-the-host');
      await storage.attach({ ...spec, chap }, never);
      t.match(initiatorLog(), /--login/, 'what iscsiadm was told is on record');
      t.notMatch(initiatorLog(), /secret-of-the-host/);
      const found = execFileSync('grep', ['-rl', 'secret-of-the-host', run('chap')]).toString();
      const files = found.trim().split('\n');
      t.equal(files.length, 1, 'in one file');
      for (const file of files) t.equal(statSync(file).mode & 0o777, 0o600, file);
      await storage.detach('web1', 0, never);
      t.notOk(existsSync(files[0] ?? ''), 'which ends with the volume');
    },
  );

  await t.test('sessions of the user’s are left alone, and their LUNs as well', async (t) => {
    const user = (...args: string[]) => {
      const node = ['-m', 'node', '-T', lioTarget, '-p', lioPortal];
      execFileSync('iscsiadm', [...node, ...args], { stdio: 'pipe' });
    };
    const { spec } = fresh();
    user('-o', 'new');
    user('--login');
    const before = readFileSync(`/etc/iscsi/nodes/${lioTarget}/127.0.0.1,${lioPort}`, 'utf8');
    const theirs = (await kernelSessions()).map(({ name }) => name);
    t.equal(theirs.length, 1);
    const storage = await open(t, run('user'));
    t.equal(await codeOf(storage.attach(spec, never)), 'US_STORAGE_ELSEWHERE', 'he has that LUN');
    // One that his session has not seen.
    const { spec: other } = fresh();
    await storage.attach(other, never);
    await storage.abort('web1', 0, never);
    t.same(
      (await kernelSessions()).map(({ name }) => name),
      theirs,
    );
    const after = readFileSync(`/etc/iscsi/nodes/${lioTarget}/127.0.0.1,${lioPort}`, 'utf8');
    t.equal(after, before, 'and so is his record');
    await storage.attach({ ...other, epoch: 2 }, never);
    // As open-iscsi.service does when it stops.
    execFileSync('iscsiadm', ['-m', 'node', '--logoutall=all'], { stdio: 'pipe' });
    t.same(await kernelSessions(), [], 'who logs out everything ends ours, too');
    t.same(await storage.observe(never), [], 'and that is noticed');
    user('-o', 'delete');
    execFileSync('rm', ['-rf', '/etc/iscsi/nodes', '/etc/iscsi/ifaces']);
  });

  await t.test(
    'what ends behind its back is noticed; what is left of an agent is taken down',
    async (t) => {
      const storage = await open(t, run('left'));
      const { spec } = fresh();
      const { hostMount } = await storage.attach(spec, never);
      writeThrough(join(hostMount, 'note'), 'kept');
      const [session] = await ourSessions();
      for (const disk of await disksOf(session?.name ?? '')) await removeDisk(disk);
      t.same(await storage.observe(never), [], 'its disk is gone');
      t.same(await ourSessions(), []);
      t.notOk(mountedAt(run('left')));
      const again = await storage.attach({ ...spec, epoch: 2 }, never);
      t.equal(readFileSync(join(again.hostMount, 'note'), 'utf8'), 'kept');
      await storage.stop();
      execFileSync('umount', [again.hostMount]);
      execFileSync('rm', ['-rf', join(run('left'), 'blk')]);
      const next = await open(t, run('left'));
      t.same(await ourSessions(), [], 'a session whose volume nobody knows is logged out');
      t.same(await next.observe(never), []);
    },
  );

  await t.test('an abort works while the target does not answer', async (t) => {
    const proxy = await IscsiProxy.start(t, { port: 3261, targetPort: lioPort });
    const storage = await open(t, run('cut'));
    const { spec, file } = fresh({ portals: [proxy.portal] });
    const { hostMount } = await storage.attach(spec, never);
    writeThrough(join(hostMount, 'note'), 'kept');
    // Before the cut: with it, even to make a file may wait for the disk, and this thread with it.
    writeFileSync(join(hostMount, 'dirty'), 'never on the disk');
    await proxy.cut();
    const lost = readFileSync(file);
    const detached = codeOf(storage.detach('web1', 0, never));
    // Beside the detach: where a program takes long to start, one that is waited for would let it take no step.
    await until(async () => /^sync$/m.test((await listed('ps', ['-eo', 'comm'])).stdout), 30_000);
    await storage.abort('web1', 0, never);
    t.equal(await detached, 'US_STORAGE_ABORTED');
    t.same(await storage.observe(never), []);
    t.notOk(mountedAt(run('cut')));
    await proxy.restore();
    t.ok(readFileSync(file).equals(lost), 'nothing came late');
    const again = await storage.attach({ ...spec, epoch: 2 }, never);
    t.equal(readFileSync(join(again.hostMount, 'note'), 'utf8'), 'kept');
    await proxy.cut();
    const writing = writeFile(join(again.hostMount, 'waits'), 'x', { flush: true }).then(
      () => true,
      () => false,
    );
    await proxy.restore();
    t.ok(await writing, 'a write that waited for the target is done when it is back');
    t.same((await storage.observe(never)).length, 1);
    await storage.detach('web1', 0, never);
  });

  await t.test('without iscsid it is told what is missing, and nothing is left', async (t) => {
    execFileSync('sh', ['-c', 'kill "$(cat /run/iscsid.pid)"']);
    await until(() => !existsSync('/run/iscsid.pid') || !isRunning('iscsid'));
    const storage = await open(t, run('none'));
    const { spec } = fresh();
    t.equal(await codeOf(storage.attach(spec, never)), 'US_STORAGE_INITIATOR');
    t.same(volumeFolders(run('none')), []);
    t.same(
      readdirSync(run('none')).filter((name) => name !== 'blk'),
      [],
    );
  });
});

function isRunning(program: string): boolean {
  return execFileSync('ps', ['-eo', 'comm']).toString().split('\n').includes(program);
}
