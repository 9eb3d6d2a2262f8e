import { execFileSync } from 'node:child_process';
import { readdirSync, readlinkSync } from 'node:fs';
import { performance } from 'node:perf_hooks';
import { test } from 'tap';
import { UnderstudyError } from '../../src/errors.js';
import { IscsiSession } from '../../src/storage/iscsi-session.js';
import { startLunServer } from './lun-server.js';

const never = new AbortController().signal;
const limits = { loginMs: 1_000, commandMs: 1_000 };
const target = 'iqn.2026-11.test:disk1';
const me = 'iqn.2026-11.test:me';

async function codeOf(work: Promise<unknown>): Promise<string> {
  return work.then(
    () => 'no error',
    (thrown: unknown) => (thrown instanceof UnderstudyError ? thrown.code : String(thrown)),
  );
}

/** `socket:[inode]` of each that is open; the folder's own descriptor is gone when it is looked at. */
function ownSockets(): readonly string[] {
  const folder = '/proc/self/fd';
  const targets = readdirSync(folder).flatMap((fd) => {
    try {
      return [readlinkSync(`${folder}/${fd}`)];
    } catch {
      return [];
    }
  });
  return targets.filter((one) => one.startsWith('socket:'));
}

test('what libiscsi asks a target', async (t) => {
  const server = await startLunServer(t);
  server.addTarget({ tid: 1, name: target, serial: 'S1', initiators: [me, `${me}2`] });

  await t.test('discovery tells targets and portals', async (t) => {
    const found = await IscsiSession.discover(server.portal, me, never, limits);
    t.match(found, [{ target, portals: [/^127\.0\.0\.1:3260/] }]);
  });

  await t.test('identity: inquiry, serial, designators, capacity, LUNs', async (t) => {
    const session = await IscsiSession.login([server.portal], target, me, never, limits);
    t.teardown(() => session.close());
    t.match(await session.inquiry(1), { qualifier: 0, deviceType: 0, vendor: 'IET' });
    t.equal(await session.serial(1), 'S1');
    t.ok((await session.designators(1)).length > 0);
    t.same(await session.capacity(1), { blocks: 131072n, blockSizeBytes: 512 });
    t.same(await session.luns(), [0, 1]);
    await session.testUnitReady(1);
  });

  await t.test('no program that this process starts has the connection', async (t) => {
    const before = ownSockets();
    const session = await IscsiSession.login([server.portal], target, me, never, limits);
    t.teardown(() => session.close());
    const fresh = ownSockets().filter((one) => !before.includes(one));
    t.ok(fresh.length > 0, 'it has one itself');
    const inherited = execFileSync('ls', ['-l', '/proc/self/fd'], { encoding: 'utf8' });
    t.same(
      fresh.filter((one) => inherited.includes(one)),
      [],
    );
  });

  await t.test('a LUN that is not there', async (t) => {
    const session = await IscsiSession.login([server.portal], target, me, never, limits);
    t.teardown(() => session.close());
    t.equal(await codeOf(session.testUnitReady(7)), 'US_STORAGE_LUN_NOT_FOUND');
  });

  await t.test('what was written is read, also across the split of long reads', async (t) => {
    const session = await IscsiSession.login([server.portal], target, me, never, limits);
    t.teardown(() => session.close());
    await session.write(1, 8n, Buffer.alloc(4096, 0xa5), 512);
    const data = await session.read(1, 0n, 1024 * 1024, 512);
    t.equal(data.length, 1024 * 1024);
    t.equal(data.indexOf(0xa5), 4096);
    t.equal(data.lastIndexOf(0xa5), 8191);
  });

  await t.test('wrong name and masked initiator look the same; both are named', async (t) => {
    for (const [name, initiator] of [
      [`${target}x`, me],
      [target, 'iqn.2026-11.test:stranger'],
    ] as const) {
      const thrown = await IscsiSession.login(
        [server.portal],
        name,
        initiator,
        never,
        limits,
      ).catch((error: unknown) => error);
      t.match(thrown, { code: 'US_STORAGE_TARGET_NOT_FOUND', reason: /mask/ });
      t.match(String(thrown), initiator);
    }
  });

  await t.test('no portal there: refused at once; the second portal is tried', async (t) => {
    const dead = '127.0.0.1:3999';
    t.equal(
      await codeOf(IscsiSession.login([dead], target, me, never, limits)),
      'US_STORAGE_UNREACHABLE',
    );
    const session = await IscsiSession.login([dead, server.portal], target, me, never, limits);
    t.equal(session.portal, server.portal);
    await session.close();
  });

  await t.test('a name is no portal', async (t) => {
    t.equal(
      await codeOf(IscsiSession.login(['storage:3260'], target, me, never, limits)),
      'US_STORAGE_PORTAL',
    );
  });

  await t.test('reservations: register, reserve, preempt; the loser is told', async (t) => {
    const a = await IscsiSession.login([server.portal], target, me, never, limits);
    const b = await IscsiSession.login([server.portal], target, `${me}2`, never, limits);
    t.teardown(async () => {
      await a.close();
      await b.close();
    });
    const base = { type: 6 as const };
    await a.persistentReserve(1, { ...base, action: 'register', key: 0n, serviceActionKey: 1n });
    await b.persistentReserve(1, { ...base, action: 'register', key: 0n, serviceActionKey: 2n });
    await a.persistentReserve(1, { ...base, action: 'reserve', key: 1n, serviceActionKey: 0n });
    t.same([...(await b.reservationKeys(1)).keys].sort(), [1n, 2n]);
    t.same(await b.reservationHolder(1), { key: 1n, type: 6 });
    await b.persistentReserve(1, { ...base, action: 'preempt', key: 2n, serviceActionKey: 1n });
    t.same(await b.reservationHolder(1), { key: 2n, type: 6 });
    t.equal(await codeOf(a.write(1, 0n, Buffer.alloc(512), 512)), 'US_STORAGE_RESERVED');
    await b.persistentReserve(1, { ...base, action: 'clear', key: 2n, serviceActionKey: 0n });
    t.same(await b.reservationHolder(1), undefined);
  });

  await t.test('a frozen target ends the wait in time and does not stop the loop', async (t) => {
    const session = await IscsiSession.login([server.portal], target, me, never, limits);
    process.kill(server.pid, 'SIGSTOP');
    const started = performance.now();
    try {
      t.equal(await codeOf(session.read(1, 0n, 512, 512)), 'US_STORAGE_UNREACHABLE');
      t.equal(
        await codeOf(IscsiSession.login([server.portal], target, me, never, limits)),
        'US_STORAGE_UNREACHABLE',
      );
    } finally {
      process.kill(server.pid, 'SIGCONT');
    }
    t.ok(performance.now() - started < 4_000);
    t.equal(await codeOf(session.read(1, 0n, 512, 512)), 'US_STORAGE_UNREACHABLE', 'it is over');
    await session.close();
  });

  await t.test('whoever gives up is let go at once', async (t) => {
    const session = await IscsiSession.login([server.portal], target, me, never, limits);
    process.kill(server.pid, 'SIGSTOP');
    try {
      const signal = AbortSignal.timeout(50);
      const thrown = await session.read(1, 0n, 512, 512, signal).catch((error: unknown) => error);
      t.equal(thrown, signal.reason);
    } finally {
      process.kill(server.pid, 'SIGCONT');
    }
    await session.close();
  });
});
