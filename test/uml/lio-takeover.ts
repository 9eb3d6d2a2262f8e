import { execFileSync, spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { readFileSync, writeFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import tap, { type Test, test } from 'tap';
import { IscsiSession } from '../../src/storage/iscsi-session.js';
import { lookAtReservation, removeRegistrations } from '../../src/storage/reservation-clear.js';
import { keyText, reservationKey } from '../../src/storage/reservation-key.js';
import { type AttachSpec, initiatorName } from '../../src/storage/types.js';
import { understudy } from '../cli/run.js';
import { manyWritesProgram, unanswered } from '../lab/many-writes.js';
import { codeOf, storageIn } from '../storage/attached.js';
import { IscsiProxy } from '../storage/iscsi-proxy.js';
import { until } from '../storage/lun-server.js';
import {
  askForChap,
  enforceIsids,
  lioDisk,
  lioPersists,
  lioPort,
  lioPortal,
  lioSerial,
  lioTarget,
  startLio,
} from './lio.js';

/**
 * Run in a guest whose kernel has LIO: hosts that differ by name and run directory take a volume from one
 * another, with nothing but the reservation between them.
 */
// A system call takes a guest 70 µs.
tap.setTimeout(200_000);
const never = new AbortController().signal;
const writesAtOnce = 1_000;
const conflict = 0x18;
const good = 0;
const cluster = 'test';

/** Hosts log in there, so that what the target answers them is seen. */
const portal = '127.0.0.1:3261';

function volumeOf(host: string, epoch: number): AttachSpec {
  return {
    ...{ cluster, personality: 'db', host, epoch, lun: 0, volume: 'db-data' },
    ...{ portals: [portal], target: lioTarget, targetLun: 0 },
    ...{ filesystem: 'ext4', format: 'if-blank', recordedSerial: undefined, fence: 'reservation' },
  };
}

const keyOf = (host: string, epoch: number) => keyText(reservationKey({ cluster, host, epoch }));

test('a volume that only its reservation fences', async (t) => {
  startLio();
  const proxy = await IscsiProxy.start(t, { port: 3261, targetPort: lioPort });
  const h1 = await storageIn(t, '/run/h1');
  const h2 = await storageIn(t, '/run/h2');
  const first = volumeOf('h1', 1);
  const second = volumeOf('h2', 2);

  await t.test('a target that registers single sessions is refused', async (t) => {
    t.equal(await codeOf(h1.fence(first, never)), 'US_STORAGE_RESERVATION');
    t.equal(await codeOf(h1.attach(first, never)), 'US_STORAGE_RESERVATION', 'and nothing is read');
    t.same(await keys(), [], 'nobody is registered');
  });
  enforceIsids(false);

  await t.test('what is wrong is told, each by its code; nobody is registered', async (t) => {
    const refused = async (change: Partial<AttachSpec>, code: string) =>
      t.equal(await codeOf(h1.fence({ ...first, ...change }, never)), code);
    await refused({ recordedSerial: 'another' }, 'US_STORAGE_IDENTITY');
    await refused({ target: `${lioTarget}x` }, 'US_STORAGE_TARGET_NOT_FOUND');
    await refused({ targetLun: 5 }, 'US_STORAGE_LUN_NOT_FOUND');
    await refused({ portals: ['127.0.0.1:3998'] }, 'US_STORAGE_UNREACHABLE');
    const secretFile = '/run/lio/secret';
    askForChap({ user: 'host', secret: 'secret-of-the-host' });
    await refused({}, 'US_STORAGE_CHAP');
    writeFileSync(secretFile, 'another-secret', { mode: 0o600 });
    await refused({ chap: { user: 'host', secretFile } }, 'US_STORAGE_CHAP');
    writeFileSync(secretFile, 'secret-of-the-host');
    const chap = { user: 'host', secretFile };
    t.equal(
      await codeOf(h1.fence({ ...first, chap, recordedSerial: lioSerial }, never)),
      'no error',
    );
    const theirs = '/run/lio/theirs';
    writeFileSync(theirs, 'secret-of-the-target', { mode: 0o600 });
    // By length: LIO pads its answer with remnants, of which libiscsi makes nothing (src/storage/iscsi-failures.ts).
    for (const [user, code] of [
      ['san', 'US_STORAGE_CHAP'],
      ['target', 'no error'],
      ['storage-of-web1', 'no error'],
    ] as const) {
      askForChap(
        { user: 'host', secret: 'secret-of-the-host' },
        { user, secret: 'secret-of-the-target' },
      );
      const mutual = { ...chap, mutual: { user, secretFile: theirs } };
      const fenced = h1.fence({ ...first, chap: mutual, recordedSerial: lioSerial }, never);
      t.equal(await codeOf(fenced), code, `mutual CHAP, ${user}`);
    }
    askForChap(undefined);
    const person = await logIn(t, 'iqn.2026-11.test:person');
    const key = reservationKey({ cluster, host: 'h1', epoch: 1 });
    t.same(await removeRegistrations(person, 0, [key]), [key]);
    t.same(await keys(), []);
    const foreign = { type: 5, key: 0n, serviceActionKey: 0x2an } as const;
    await person.persistentReserve(0, { ...foreign, action: 'register-and-ignore' });
    await refused({}, 'US_STORAGE_RESERVED');
    t.same(new Set(await keys()), new Set([keyText(0x2an)]), 'and stays');
    await person.persistentReserve(0, {
      ...foreign,
      ...{ action: 'register-and-ignore', serviceActionKey: 0n },
    });
    t.same(await keys(), []);
  });

  await t.test('a stopped host is thrown out, with its writes under way', async (t) => {
    t.same(await h1.fence(first, never), { key: keyOf('h1', 1), preempted: [] });
    t.match(lioPersists(), new RegExp(`sa_res_key=${BigInt(keyOf('h1', 1))}`), 'on its disk, too');
    const { hostMount, serial } = await h1.attach(first, never);
    t.equal(serial, lioSerial);
    const child = spawn(manyWritesProgram(t), [`${hostMount}/many`, String(writesAtOnce)]);
    t.teardown(() => child.kill('SIGKILL'));
    const ended = once(child, 'close');
    await once(createInterface({ input: child.stdout }), 'line');
    const pids = [diskProcess('/run/h1'), child.pid ?? 0] as const;
    process.kill(pids[0], 'SIGSTOP');
    await until(() => unanswered(pids[1]) >= writesAtOnce);
    process.kill(pids[1], 'SIGSTOP');
    t.pass(`${unanswered(pids[1])} writes are under way when the host is stopped`);

    t.same(await h2.fence(second, never), { key: keyOf('h2', 2), preempted: [keyOf('h1', 1)] });
    const taken = await h2.attach(second, never);
    writeFileSync(`${taken.hostMount}/owner`, 'h2', { flush: true });
    // Frozen, it writes nothing by itself either: what changes from here on is not its doing.
    execFileSync('fsfreeze', ['--freeze', taken.hostMount]);
    const unchanged = diskSum();
    t.equal(await lunSum(), unchanged, 'a third initiator reads the same');
    const before = (await proxy.seen()).answers.length;

    for (const pid of pids) process.kill(pid, 'SIGCONT');
    const [code] = await ended;
    t.not(code, 0, 'the old host’s writes fail');
    const { answers: all } = await proxy.seen();
    const answers = all.slice(before).filter(({ initiator, writes }) => {
      return writes && initiator === initiatorName(cluster, 'db', 'h1', 1);
    });
    const refused = answers.filter(({ status }) => status === conflict).length;
    t.ok(refused > 0, `the target answers ${refused} of its writes by RESERVATION CONFLICT`);
    t.equal(answers.filter(({ status }) => status === good).length, 0, 'and none by GOOD');
    t.equal(diskSum(), unchanged, 'not a byte of the LUN has changed');
    t.equal(await lunSum(), unchanged, 'nor for a third initiator');
    const old = await logIn(t, initiatorName(cluster, 'db', 'h1', 1));
    const block = Buffer.alloc(512);
    t.equal(
      await codeOf(old.write(0, 8n, block, 512)),
      'US_STORAGE_RESERVED',
      'also of a new login',
    );
    t.equal(await codeOf(h1.fence(first, never)), 'US_STORAGE_STALE_EPOCH', 'nor can it come back');
    t.same(await h1.observe(never), [], 'its data path has ended');
    t.equal(diskSum(), unchanged);
    execFileSync('fsfreeze', ['--unfreeze', taken.hostMount]);
    writeFileSync(`${taken.hostMount}/owner`, 'still h2', { flush: true });
  });

  await t.test('who registers late is thrown out, and the owner writes on', async (t) => {
    const before = diskProcess('/run/h2');
    const late = await logIn(t, `${initiatorName(cluster, 'db', 'h1', 1)}.fence`);
    await late.persistentReserve(0, {
      ...{ action: 'register-and-ignore', type: 5, key: 0n },
      serviceActionKey: reservationKey({ cluster, host: 'h1', epoch: 1 }),
    });
    t.same((await h2.fence(second, never)).preempted, [keyOf('h1', 1)]);
    t.equal(diskProcess('/run/h2'), before, 'by the same data path');
    t.same(new Set(await keys()), new Set([keyOf('h2', 2)]));
    t.same(await h2.fence(second, never), { key: keyOf('h2', 2), preempted: [] });
  });

  await t.test('a move leaves no moment in which nobody is kept out', async (t) => {
    await h2.detach('db', 0, never);
    t.same(new Set(await keys()), new Set([keyOf('h2', 2)]), 'it stays reserved');
    const third = volumeOf('h1', 3);
    t.same((await h1.fence(third, never)).preempted, [keyOf('h2', 2)]);
    const { hostMount } = await h1.attach(third, never);
    t.equal(readFileSync(`${hostMount}/owner`, 'utf8'), 'still h2');
  });

  await t.test('what is left is seen, and cleared by a person', async (t) => {
    await h1.detach('db', 0, never);
    const person = await logIn(t, 'iqn.2026-11.test:person');
    const { registrations, holder } = await lookAtReservation(person, 0);
    const key = reservationKey({ cluster, host: 'h1', epoch: 3 });
    t.same(
      registrations.map((one) => one.key),
      [key],
    );
    t.match(registrations, [{ initiators: [initiatorName(cluster, 'db', 'h1', 3)] }]);
    t.equal(holder?.key, key);
    const block = Buffer.alloc(512);
    t.equal(await codeOf(person.write(0, 8n, block, 512)), 'US_STORAGE_RESERVED');
    const place = ['--portal', lioPortal, '--target', lioTarget, '--lun', '0', '--json'];
    const shown = async () => {
      const { code, stdout } = await understudy(['reservation', 'show', ...place]);
      t.equal(code, 0);
      return JSON.parse(stdout) as unknown;
    };
    const keyShown = keyText(key);
    t.match(
      await shown(),
      [
        {
          registered: [{ key: keyShown, initiators: [initiatorName(cluster, 'db', 'h1', 3)] }],
          holder: { key: keyShown, type: 5 },
          error: null,
        },
      ],
      'by the command, too',
    );
    const doubtful = await understudy(['reservation', 'clear', ...place]);
    t.equal(doubtful.code, 1, 'nobody says that it is not in use');
    t.match(await shown(), [{ registered: [{ key: keyShown }] }], 'so nothing is cleared');
    const cleared = await understudy(['reservation', 'clear', ...place, '--yes']);
    t.match(JSON.parse(cleared.stdout), { removed: [keyShown] }, cleared.stderr);
    t.match(await shown(), [{ registered: [], holder: null, error: null }]);
    t.same(await removeRegistrations(person, 0, [key]), [], 'nothing is left');
    t.same(await lookAtReservation(person, 0), { registrations: [], holder: undefined });
    t.equal(await codeOf(person.write(0, 8n, block, 512)), 'no error');
  });
});

async function logIn(t: Test, name: string): Promise<IscsiSession> {
  const session = await IscsiSession.login([portal], lioTarget, name);
  t.teardown(() => session.close());
  return session;
}

/** As the target itself tells. */
async function keys(): Promise<readonly string[]> {
  const session = await IscsiSession.login([portal], lioTarget, 'iqn.2026-11.test:looks-on');
  const found = await session.reservationKeys(0);
  await session.close();
  return found.keys.map(keyText);
}

function diskProcess(runDirectory: string): number {
  return Number(readFileSync(`${runDirectory}/blk/db/0/qsd.pid`, 'utf8'));
}

/** Of the LUN's bytes, read beside the target. */
function diskSum(): string {
  return createHash('sha256').update(readFileSync(lioDisk)).digest('hex');
}

/** The same, read by an initiator that has nothing to do with it, past the proxy. */
async function lunSum(): Promise<string> {
  const session = await IscsiSession.login([lioPortal], lioTarget, 'iqn.2026-11.test:third');
  const { blocks, blockSizeBytes } = await session.capacity(0);
  const bytes = await session.read(0, 0n, Number(blocks) * blockSizeBytes, blockSizeBytes);
  await session.close();
  return createHash('sha256').update(bytes).digest('hex');
}
