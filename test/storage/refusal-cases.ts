import { execFileSync } from 'node:child_process';
import { chmodSync, existsSync, mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Test } from 'tap';
import { IscsiSession } from '../../src/storage/iscsi-session.js';
import type { AttachSpec } from '../../src/storage/types.js';
import { codeOf } from './attached.js';
import { attachSpec } from './lun-server.js';
import { type FreshLun, mountedAt, type StorageWorld, volumeFolders } from './storage-cases.js';

const never = new AbortController().signal;

export interface Account {
  readonly user: string;
  readonly secret: string;
}

/** What the cases need of a backend and its target, beyond the compliance suite. */
export interface RefusalWorld extends Omit<StorageWorld, 'gone'> {
  /** Who logs in to the LUN's target proves himself so, and is proven to; undefined: nobody has to. */
  askForChap(lun: FreshLun, accounts: { ours: Account; theirs: Account } | undefined): void;
  /** A blank LUN of 64 MiB with room for 256 KiB behind it, which is mounted in that folder. */
  fullLun(folder: string): FreshLun;
  /** A blank LUN with the serial number of another. */
  twinOf(lun: FreshLun): FreshLun;
}

/** What cannot be used, each by its code, on every backend alike; not a byte of it changes. */
export async function refusalCases(t: Test, world: RefusalWorld): Promise<void> {
  const run = (name: string) => join(world.directory, name);

  await t.test('a file system of another type is never formatted', async (t) => {
    const storage = await world.open(t, run('type'));
    for (const [made, wanted] of [
      ['xfs', 'ext4'],
      ['ext4', 'xfs'],
    ] as const) {
      const { file, ...lun } = world.lun(320);
      execFileSync(`mkfs.${made}`, ['-q', file]);
      const before = written(file);
      const spec = attachSpec(world, { ...lun, filesystem: wanted });
      const thrown = await storage.attach(spec, never).catch((error: unknown) => error);
      t.match(thrown, { code: 'US_STORAGE_FILESYSTEM', reason: new RegExp(made) });
      t.equal(written(file), before, `${made} stays as it is`);
    }
  });

  await t.test('a LUN that is too small, or became so', async (t) => {
    const storage = await world.open(t, run('small'));
    const small = world.lun(1);
    const of = ({ file: _, ...lun }: FreshLun) => attachSpec(world, lun);
    for (const filesystem of ['ext4', 'xfs'] as const) {
      const attached = storage.attach({ ...of(small), filesystem }, never);
      t.equal(await codeOf(attached), 'US_STORAGE_TOO_SMALL', filesystem);
    }
    t.equal(statSync(small.file).blocks, 0);
    const cut = world.lun(32);
    execFileSync('mkfs.ext4', ['-q', '-F', cut.file, '64M'], { stdio: 'ignore' });
    execFileSync('truncate', ['-s', '32M', cut.file]);
    const before = written(cut.file);
    t.equal(await codeOf(storage.attach(of(cut), never)), 'US_STORAGE_TOO_SMALL', 'it became so');
    t.equal(written(cut.file), before);
    t.same(volumeFolders(run('small')), []);
  });

  await t.test('a target without room for what is written', async (t) => {
    const storage = await world.open(t, run('full'));
    const folder = run('no-room');
    mkdirSync(folder, { recursive: true });
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=256k', 'tmpfs', folder]);
    t.teardown(() => execFileSync('umount', ['-l', folder]));
    const { file: _, ...lun } = world.fullLun(folder);
    const attached = storage.attach(attachSpec(world, lun), never);
    t.equal(await codeOf(attached), 'US_STORAGE_TARGET_FULL');
    t.same(volumeFolders(run('full')), []);
  });

  await t.test('one LUN under two names', async (t) => {
    const storage = await world.open(t, run('twice'));
    const [one, two] = [world.lun()].flatMap((lun) => [lun, world.twinOf(lun)]);
    if (one === undefined || two === undefined) throw new Error('two LUNs');
    const { file: _, ...first } = one;
    const { file, ...second } = two;
    await storage.attach(attachSpec(world, first), never);
    const again = attachSpec(world, { ...second, personality: 'web2' });
    t.equal(await codeOf(storage.attach(again, never)), 'US_STORAGE_ELSEWHERE');
    t.equal(statSync(file).blocks, 0);
    await storage.detach('web1', 0, never);
  });

  await t.test('one that somebody else has reserved', async (t) => {
    const storage = await world.open(t, run('reserved'));
    const { file, ...lun } = world.lun();
    const person = 'iqn.2026-11.test:person';
    const session = await IscsiSession.login([world.portal], lun.target, person);
    t.teardown(() => session.close());
    const [type, theirs] = [5, 0x2an] as const;
    const order = { type, key: 0n, serviceActionKey: theirs } as const;
    await session.persistentReserve(lun.targetLun, { ...order, action: 'register-and-ignore' });
    const reserve = { type, key: theirs, serviceActionKey: 0n, action: 'reserve' } as const;
    await session.persistentReserve(lun.targetLun, reserve);
    const spec = attachSpec(world, lun);
    t.equal(await codeOf(storage.attach(spec, never)), 'US_STORAGE_RESERVED', 'a blank one');
    t.equal(statSync(file).blocks, 0);
    execFileSync('mkfs.ext4', ['-q', '-F', file]);
    const before = written(file);
    t.equal(await codeOf(storage.attach(spec, never)), 'US_STORAGE_RESERVED', 'one in use');
    t.equal(written(file), before);
    const reading = await storage.attach({ ...spec, access: 'read-only' }, never);
    t.ok(existsSync(join(reading.hostMount, 'lost+found')), 'it may be read, as the holder says');
    await storage.detach('web1', 0, never);
    t.equal(written(file), before);
    await session.persistentReserve(lun.targetLun, { ...reserve, action: 'clear' });
  });

  await t.test('CHAP: who cannot prove himself, and a target that cannot', async (t) => {
    const storage = await world.open(t, run('chap'));
    const { file, ...lun } = world.lun();
    const ours = { user: 'host-user', secret: 'secret-of-the-host' };
    const theirs = { user: 'target-user', secret: 'secret-of-the-target' };
    world.askForChap({ ...lun, file }, { ours, theirs });
    t.teardown(() => world.askForChap({ ...lun, file }, undefined));
    const put = (name: string, text: string, mode = 0o600) => {
      const path = run(`secret-${name}`);
      writeFileSync(path, text, { mode });
      chmodSync(path, mode);
      return path;
    };
    const chap = { user: ours.user, secretFile: put('ours', `${ours.secret}\n`) };
    const mutual = { user: theirs.user, secretFile: put('theirs', theirs.secret) };
    const wrong = put('wrong', 'another-secret');
    const attach = (chap: AttachSpec['chap'], epoch = 1) =>
      storage.attach(attachSpec(world, { ...lun, epoch, chap }), never);
    const refusals: readonly [string, AttachSpec['chap'], string][] = [
      ['none', undefined, 'US_STORAGE_CHAP'],
      ['wrong secret', { ...chap, secretFile: wrong }, 'US_STORAGE_CHAP'],
      ['wrong user', { ...chap, user: 'somebody' }, 'US_STORAGE_CHAP'],
      ['target fails', { ...chap, mutual: { ...mutual, secretFile: wrong } }, 'US_STORAGE_CHAP'],
      ['no file', { ...chap, secretFile: '/nonexistent' }, 'US_STORAGE_SECRET'],
      ['others may read', { ...chap, secretFile: put('open', 'x', 0o644) }, 'US_STORAGE_SECRET'],
      ['two lines', { ...chap, secretFile: put('lines', 'x\nx\n') }, 'US_STORAGE_SECRET'],
      ['empty', { ...chap, secretFile: put('empty', '') }, 'US_STORAGE_SECRET'],
      ['one for both', { ...chap, mutual: { ...mutual, ...chap } }, 'US_STORAGE_SECRET'],
    ];
    for (const [what, bad, code] of refusals) t.equal(await codeOf(attach(bad)), code, what);
    t.equal(statSync(file).blocks, 0, 'nothing was written');
    t.same(volumeFolders(run('chap')), []);

    const { hostMount } = await attach({ ...chap, mutual });
    writeFileSync(join(hostMount, 'note'), 'kept', { flush: true });
    await storage.detach('web1', 0, never);
    const again = await attach(chap, 2);
    t.equal(readFileSync(join(again.hostMount, 'note'), 'utf8'), 'kept', 'also one way only');
    await storage.detach('web1', 0, never);
    t.notOk(mountedAt(run('chap')));
  });
}

/** Differs after any write to it. */
function written(file: string): string {
  const { mtimeNs, blocks } = statSync(file, { bigint: true });
  return `${mtimeNs} ${blocks}`;
}
