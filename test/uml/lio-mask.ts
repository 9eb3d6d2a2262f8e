import { execFileSync, spawn } from 'node:child_process';
import { mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import tap, { type Test, test } from 'tap';
import type { ChapCredentials } from '../../src/storage/chap.js';
import { IscsiSession } from '../../src/storage/iscsi-session.js';
import { LioMask } from '../../src/storage/lio-mask.js';
import { initiatorName } from '../../src/storage/types.js';
import { codeOf } from '../storage/attached.js';
import { until } from '../storage/lun-server.js';
import { maskCases } from '../storage/mask-cases.js';
import { RawInitiator } from '../storage/raw-initiator.js';
import { addTarget, groupOf, letIn, letInBy, lioPort, lioPortal, startLio } from './lio.js';

/** Run in a guest whose kernel has LIO: what holds for masks on any target, and what LIO adds. */
tap.setTimeout(140_000);
const never = new AbortController().signal;
const directory = '/run/masks';
const name = (host: string, epoch: number) => initiatorName('test', 'web1', host, epoch);
const orderOf = (target: string, host: string, epoch: number) => ({
  ...{ target, luns: [1], epoch, personality: 'web1', initiator: name(host, epoch) },
});
const maskModule = new URL('../../src/storage/lio-mask.js', import.meta.url).href;
const account = (secret: string) => ({ user: 'db', secret, mutual: undefined });
const newMask = (ledgerFile: string) => new LioMask({ cluster: 'test', ledgerFile });
const reach = async (t: Test, target: string, initiator: string, chap?: ChapCredentials) => {
  const session = await IscsiSession.login([lioPortal], target, initiator, never, undefined, chap);
  t.teardown(() => session.close());
  return session;
};

test('masks on LIO', async (t) => {
  startLio();
  mkdirSync(directory);
  await maskCases(t, {
    ...{ portal: lioPortal, port: lioPort, directory, mask: newMask },
    ...{ addTarget, admitted: letInBy, letIn, endsConnections: false },
  });

  await t.test('what others have stays theirs', async (t) => {
    const target = 'iqn.2026-11.test:others';
    const file = addTarget(target);
    const [backup, writer] = ['iqn.1993-08.org.debian:backup', 'iqn.1993-08.org.debian:writer'];
    const other = initiatorName('another', 'web1', 'h1', 1);
    letIn(target, backup, { readOnly: true });
    mkdirSync(`${groupOf(target)}/acls/${other}`);
    const reader = await reach(t, target, backup);
    const mask = newMask(`${directory}/others.json`);
    await mask.apply(orderOf(target, 'h1', 1), never);
    await mask.apply(orderOf(target, 'h2', 2), never);
    t.equal((await reader.read(1, 0n, 512, 512)).length, 512, 'who may only read is still in');
    t.same(new Set(letInBy(target)), new Set([backup, name('h2', 2)]));

    letIn(target, writer);
    t.equal(await mask.holds(orderOf(target, 'h2', 2), never), false);
    const third = orderOf(target, 'h3', 3);
    t.equal(await codeOf(mask.apply(third, never)), 'US_STORAGE_MASK');
    t.same(new Set(letInBy(target)), new Set([backup, writer]), 'and nobody of ours is let in');
    execFileSync('sh', ['-c', `cd ${groupOf(target)}/acls/${writer} && rm lun_1/by-hand`]);
    await mask.apply(third, never);
    t.same(new Set(letInBy(target)), new Set([backup, name('h3', 3)]));
    execFileSync('test', ['-d', `${groupOf(target)}/acls/${other}`]);
    t.ok(file, 'an ACL of another cluster is there');
  });

  await t.test('no mask where everybody is let in', async (t) => {
    const target = 'iqn.2026-11.test:open';
    addTarget(target);
    writeFileSync(`${groupOf(target)}/attrib/generate_node_acls`, '1');
    writeFileSync(`${groupOf(target)}/attrib/cache_dynamic_acls`, '1');
    const mask = newMask(`${directory}/open.json`);
    const order = orderOf(target, 'h1', 1);
    await t.rejects(mask.apply(order, never), { message: /generate_node_acls of tpgt_1 is 1/ });
    const stranger = await reach(t, target, 'iqn.2026-11.test:stranger');
    await stranger.testUnitReady(1);
    writeFileSync(`${groupOf(target)}/attrib/generate_node_acls`, '0');
    await t.rejects(mask.apply(order, never), { message: /iqn.2026-11.test:stranger/ });
    t.same(letInBy(target), []);
  });

  await t.test('a group that asks for CHAP lends its account', async (t) => {
    const target = 'iqn.2026-11.test:chap';
    addTarget(target);
    const group = groupOf(target);
    writeFileSync(`${group}/attrib/authentication`, '1');
    writeFileSync(`${group}/auth/userid`, 'db');
    writeFileSync(`${group}/auth/password`, 'secret-of-db');
    await newMask(`${directory}/chap.json`).apply(orderOf(target, 'h1', 1), never);
    const wrong = reach(t, target, name('h1', 1), account('another-secret'));
    t.equal(await codeOf(wrong), 'US_STORAGE_CHAP');
    const right = await reach(t, target, name('h1', 1), account('secret-of-db'));
    await right.testUnitReady(1);
  });

  await t.test('a LUN that is not there; two of them', async (t) => {
    const target = 'iqn.2026-11.test:luns';
    addTarget(target);
    const mask = newMask(`${directory}/luns.json`);
    const order = { ...orderOf(target, 'h1', 1), luns: [1, 7] };
    t.equal(await codeOf(mask.apply(order, never)), 'US_STORAGE_LUN_NOT_FOUND');
    const group = groupOf(target);
    const disk = '/sys/kernel/config/target/core/fileio_1/luns';
    execFileSync('sh', [
      '-c',
      `mkdir ${group}/lun/lun_7 && cd ${group}/lun/lun_7 && ln -s ${disk} disk`,
    ]);
    await mask.apply(order, never);
    const owner = await reach(t, target, name('h1', 1));
    await owner.testUnitReady(7);
    await mask.apply({ ...order, luns: [7] }, never);
    await owner.testUnitReady(7);
    t.equal(await codeOf(owner.testUnitReady(1)), 'US_STORAGE_LUN_NOT_FOUND', 'it left the file');
  });

  await t.test('no more rights are needed than the unit gives', async (t) => {
    const target = 'iqn.2026-11.test:rights';
    addTarget(target);
    const asUnit = (host: string, epoch: number) => {
      const program = `
        const { LioMask } = await import(${JSON.stringify(maskModule)});
        const mask = new LioMask({ cluster: 'test', ledgerFile: '${directory}/rights.json' });
        await mask.apply(${JSON.stringify(orderOf(target, host, epoch))}, new AbortController().signal);`;
      const rights = ['--bounding-set=-all,+net_admin', '--inh-caps=-all', '--no-new-privs'];
      const argv = [process.execPath, '--input-type=module', '-e', program];
      execFileSync('setpriv', [...rights, '--', ...argv], { stdio: 'pipe' });
    };
    asUnit('h1', 1);
    const old = await reach(t, target, name('h1', 1));
    asUnit('h2', 2);
    t.same(letInBy(target), [name('h2', 2)]);
    t.equal(await codeOf(old.testUnitReady(1)), 'US_STORAGE_UNREACHABLE');
  });

  await t.test('a write that the disk has not done is waited for', async (t) => {
    const target = 'iqn.2026-11.test:slow';
    const { disk, image } = await addTargetOnSlowDisk(t, target);
    const mask = newMask(`${directory}/slow.json`);
    await mask.apply(orderOf(target, 'h1', 1), never);
    const old = await RawInitiator.begin(t, { port: lioPort, target, initiator: name('h1', 1) });
    old.finishLogin();
    t.ok(await old.loggedIn());
    (await old.announceWrite(1, 8)).goOn(0xaa);
    if ((await old.answered()) !== 0) {
      (await old.announceWrite(1, 8)).goOn(0xaa);
      t.equal(await old.answered(), 0);
    }
    disk.kill('SIGSTOP');
    (await old.announceWrite(1, 8)).goOn(0xbb);
    const next = orderOf(target, 'h2', 2);
    await t.rejects(mask.apply(next, never), { code: 'US_STORAGE_MASK', message: /waits for/ });
    t.notOk(letInBy(target).includes(name('h2', 2)), 'nobody is let in meanwhile');
    await t.rejects(mask.holds(next, never), { code: 'US_STORAGE_MASK' });
    disk.kill('SIGCONT');
    await mask.apply(next, never);
    const after = readFileSync(image)[8 * 512];
    t.ok(after === 0xaa || after === 0xbb, 'it was done before the next one is let in, or never');
    const owner = await reach(t, target, name('h2', 2));
    t.equal((await owner.read(1, 8n, 512, 512))[0], after);
    await until(() => old.closed);
  });
});

/** On a disk whose process can be stopped: what is written then waits in the kernel. */
async function addTargetOnSlowDisk(t: Test, target: string) {
  const image = '/run/slow.img';
  execFileSync('truncate', ['-s', '64M', image]);
  writeFileSync('/run/lio/slow', '');
  const disk = spawn('qemu-storage-daemon', [
    ...['--blockdev', `driver=file,node-name=disk,filename=${image}`],
    ...['--export', 'type=fuse,id=disk,node-name=disk,mountpoint=/run/lio/slow,writable=on'],
  ]);
  t.teardown(() => disk.kill('SIGKILL'));
  await until(() => statSync('/run/lio/slow').size > 0);
  addTarget(target);
  return { disk, image };
}
