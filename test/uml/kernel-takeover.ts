import { execFileSync, spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { readFileSync, writeFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import tap, { type Test, test } from 'tap';
import { IscsiSession } from '../../src/storage/iscsi-session.js';
import { kernelSessions } from '../../src/storage/kernel-sessions.js';
import { KernelStorage } from '../../src/storage/kernel-storage.js';
import { keyText, reservationKey } from '../../src/storage/reservation-key.js';
import { type AttachSpec, initiatorName } from '../../src/storage/types.js';
import { manyWritesProgram, unanswered } from '../lab/many-writes.js';
import { codeOf, openStorage } from '../storage/attached.js';
import { IscsiProxy } from '../storage/iscsi-proxy.js';
import { until } from '../storage/lun-server.js';
import { startInitiator } from './initiator.js';
import { lioDisk, lioPersists, lioPort, lioPortal, lioTarget, startLio } from './lio.js';

/**
 * Run in a guest whose kernel has LIO and an iSCSI initiator: hosts that differ by name, run directory and
 * way to the target take a volume from one another, with nothing but the reservation between them. LIO is as
 * it comes: each session (ISID) stands for itself.
 */
tap.setTimeout(200_000);
const never = new AbortController().signal;
const cluster = 'test';
const writesAtOnce = 1_000;
const conflict = 0x18;
const good = 0;

function volumeOf(host: string, epoch: number, portal = lioPortal): AttachSpec {
  return {
    ...{ cluster, personality: 'db', host, epoch, lun: 0, volume: 'db-data' },
    ...{ portals: [portal], target: lioTarget, targetLun: 0 },
    ...{ filesystem: 'ext4', format: 'if-blank', recordedSerial: undefined, fence: 'reservation' },
  };
}

const keyOf = (host: string, epoch: number) => keyText(reservationKey({ cluster, host, epoch }));

test('a volume of the kernel’s initiator that only its reservation fences', async (t) => {
  startLio();
  startInitiator(t);
  const proxy = await IscsiProxy.start(t, { port: 3261, targetPort: lioPort });
  const open = (runDirectory: string) =>
    openStorage(t, runDirectory, (options) => new KernelStorage(options));
  const h1 = await open('/run/h1');
  const h2 = await open('/run/h2');
  const first = volumeOf('h1', 1, proxy.portal);
  const second = volumeOf('h2', 2);

  await t.test('what is wrong is told, each by its code; nobody is registered', async (t) => {
    const refused = async (change: Partial<AttachSpec>, code: string) =>
      t.equal(await codeOf(h1.fence({ ...first, ...change }, never)), code);
    t.equal(await codeOf(h1.attach(first, never)), 'US_STORAGE_RESERVATION', 'not without it');
    await refused({ recordedSerial: 'another' }, 'US_STORAGE_IDENTITY');
    await refused({ target: `${lioTarget}x` }, 'US_STORAGE_TARGET_NOT_FOUND');
    await refused({ targetLun: 5 }, 'US_STORAGE_LUN_NOT_FOUND');
    const person = await logIn(t, 'iqn.2026-11.test:person');
    const foreign = { action: 'register-and-ignore', type: 5, key: 0n } as const;
    await person.persistentReserve(0, { ...foreign, serviceActionKey: 0x2an });
    await refused({}, 'US_STORAGE_RESERVED');
    t.same(await keys(), [keyText(0x2an)], 'and stays');
    await person.persistentReserve(0, { ...foreign, serviceActionKey: 0n });
    t.same(await keys(), []);
    t.same(await kernelSessions(), [], 'nobody is logged in');
  });

  await t.test('the data path itself is registered, before anything is mounted', async (t) => {
    t.same(await h1.fence(first, never), { key: keyOf('h1', 1), preempted: [] });
    t.same(await h1.observe(never), [], 'nothing is attached yet');
    t.same(await h1.fence(first, never), { key: keyOf('h1', 1), preempted: [] }, 'again: the same');
    t.match(lioPersists(), new RegExp(`sa_res_key=${BigInt(keyOf('h1', 1))}`), 'on its disk, too');
    const { hostMount } = await h1.attach(first, never);
    const looks = await logIn(t, 'iqn.2026-11.test:looks-on');
    const [registrant, ...others] = (await looks.registrants(0)) ?? [];
    t.equal(registrant?.initiator, initiatorName(cluster, 'db', 'h1', 1));
    t.match(registrant?.isid, /^[0-9a-f]+$/, 'and no other session of that name');
    t.same(others, []);
    writeFileSync(`${hostMount}/owner`, 'h1', { flush: true });
  });

  await t.test('a host that was away is thrown out, with its writes under way', async (t) => {
    const [{ hostMount = '' } = {}] = await h1.observe(never);
    const writer = spawn(manyWritesProgram(t), [`${hostMount}/many`, String(writesAtOnce)]);
    t.teardown(() => writer.kill('SIGKILL'));
    const ended = once(writer, 'close');
    const ready = once(createInterface({ input: writer.stdout }), 'line');
    await ready;
    await proxy.cut();
    await until(() => unanswered(writer.pid ?? 0) >= writesAtOnce);
    t.pass(`${unanswered(writer.pid ?? 0)} writes are under way when the host is cut off`);

    t.same(await h2.fence(second, never), { key: keyOf('h2', 2), preempted: [keyOf('h1', 1)] });
    const taken = await h2.attach(second, never);
    t.equal(readFileSync(`${taken.hostMount}/owner`, 'utf8'), 'h1');
    writeFileSync(`${taken.hostMount}/owner`, 'h2', { flush: true });
    execFileSync('fsfreeze', ['--freeze', taken.hostMount]);
    const unchanged = diskSum();
    const before = (await proxy.seen()).answers.length;

    // The kernel of the old host logs in again by itself, as the same nexus, and sends what it had.
    await proxy.restore();
    const [code] = await ended;
    t.not(code, 0, 'the old host’s writes fail');
    const answers = (await proxy.seen()).answers
      .slice(before)
      .filter(
        ({ initiator, writes }) => writes && initiator === initiatorName(cluster, 'db', 'h1', 1),
      );
    const refused = answers.filter(({ status }) => status === conflict).length;
    t.ok(refused > 0, `the target answers ${refused} of its writes by RESERVATION CONFLICT`);
    t.equal(answers.filter(({ status }) => status === good).length, 0, 'and none by GOOD');
    t.equal(diskSum(), unchanged, 'not a byte of the LUN has changed');
    t.equal(await codeOf(h1.fence(first, never)), 'US_STORAGE_STALE_EPOCH', 'nor can it come back');
    execFileSync('fsfreeze', ['--unfreeze', taken.hostMount]);
    writeFileSync(`${taken.hostMount}/owner`, 'still h2', { flush: true });
    await h1.abort('db', 0, never);
  });

  await t.test('a move leaves no moment in which nobody is kept out', async (t) => {
    await h2.detach('db', 0, never);
    t.same(await kernelSessions(), [], 'logged out');
    t.same(await keys(), [keyOf('h2', 2)], 'it stays reserved');
    const third = volumeOf('h1', 3);
    t.same((await h1.fence(third, never)).preempted, [keyOf('h2', 2)]);
    const { hostMount } = await h1.attach(third, never);
    t.equal(readFileSync(`${hostMount}/owner`, 'utf8'), 'still h2');
    await h1.detach('db', 0, never);
  });
});

async function logIn(t: Test, name: string): Promise<IscsiSession> {
  const session = await IscsiSession.login([lioPortal], lioTarget, name);
  t.teardown(() => session.close());
  return session;
}

/** As the target itself tells. */
async function keys(): Promise<readonly string[]> {
  const session = await IscsiSession.login([lioPortal], lioTarget, 'iqn.2026-11.test:looks-on');
  const found = await session.reservationKeys(0);
  await session.close();
  return [...new Set(found.keys.map(keyText))];
}

/** Of the LUN's bytes, read beside the target. */
function diskSum(): string {
  return createHash('sha256').update(readFileSync(lioDisk)).digest('hex');
}
