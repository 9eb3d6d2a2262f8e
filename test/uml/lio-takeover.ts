import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { type Test, test } from 'tap';
import { IscsiSession } from '../../src/storage/iscsi-session.js';
import { keyText, reservationKey } from '../../src/storage/reservation-key.js';
import { type AttachSpec, initiatorName } from '../../src/storage/types.js';
import { codeOf, storageIn } from '../storage/attached.js';
import { until } from '../storage/lun-server.js';
import {
  enforceIsids,
  lioDisk,
  lioPersists,
  lioPortal,
  lioSerial,
  lioTarget,
  startLio,
} from './lio.js';

/**
 * Run in a guest whose kernel has LIO: hosts that differ by name and run directory take a volume from one
 * another, with nothing but the reservation between them.
 */
const never = new AbortController().signal;
const writesAtOnce = 200;
const cluster = 'test';

function volumeOf(host: string, epoch: number): AttachSpec {
  return {
    ...{ cluster, personality: 'db', host, epoch, lun: 0, volume: 'db-data' },
    ...{ portals: [lioPortal], target: lioTarget, targetLun: 0 },
    ...{ filesystem: 'ext4', format: 'if-blank', recordedSerial: undefined, fence: 'reservation' },
  };
}

const keyOf = (host: string, epoch: number) => keyText(reservationKey({ cluster, host, epoch }));

test('a volume that only its reservation fences', async (t) => {
  startLio();
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

  await t.test('another LUN in its place is left alone', async (t) => {
    const other = { ...first, recordedSerial: 'another' };
    t.equal(await codeOf(h1.fence(other, never)), 'US_STORAGE_IDENTITY');
    t.same(await keys(), []);
  });

  await t.test('a stopped host is thrown out, with its writes under way', async (t) => {
    t.same(await h1.fence(first, never), { key: keyOf('h1', 1), preempted: [] });
    t.match(lioPersists(), new RegExp(`sa_res_key=${BigInt(keyOf('h1', 1))}`), 'on its disk, too');
    const { hostMount, serial } = await h1.attach(first, never);
    t.equal(serial, lioSerial);
    const program = new URL('../lab/many-writes.js', import.meta.url).pathname;
    const child = spawn(process.execPath, [program, `${hostMount}/many`, String(writesAtOnce)], {
      env: { ...process.env, UV_THREADPOOL_SIZE: String(writesAtOnce) },
    });
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
    const unchanged = diskSum();

    for (const pid of pids) process.kill(pid, 'SIGCONT');
    const [code] = await ended;
    t.not(code, 0, 'the old host’s writes fail');
    t.equal(diskSum(), unchanged, 'and not a byte of the LUN has changed');
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

  await t.test('a target that has forgotten: taken anew, data path and all', async (t) => {
    const before = diskProcess('/run/h2');
    await clear();
    t.same(await keys(), [], 'it has');
    t.same(await h2.fence(second, never), { key: keyOf('h2', 2), preempted: [] });
    const again = await h2.attach(second, never);
    t.not(diskProcess('/run/h2'), before);
    t.equal(readFileSync(`${again.hostMount}/owner`, 'utf8'), 'still h2');
    writeFileSync(`${again.hostMount}/owner`, 'h2 again', { flush: true });
  });

  await t.test('a move leaves no moment in which nobody is kept out', async (t) => {
    await h2.detach('db', 0, never);
    t.same(new Set(await keys()), new Set([keyOf('h2', 2)]), 'it stays reserved');
    const third = volumeOf('h1', 3);
    t.same((await h1.fence(third, never)).preempted, [keyOf('h2', 2)]);
    const { hostMount } = await h1.attach(third, never);
    t.equal(readFileSync(`${hostMount}/owner`, 'utf8'), 'h2 again');
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
  return found.keys.map(keyText);
}

/** Makes the target forget every registration, as a restart would (LIO in a guest ends no target in use). */
async function clear(): Promise<void> {
  const session = await IscsiSession.login([lioPortal], lioTarget, 'iqn.2026-11.test:clears');
  const own = { type: 5, key: 0n, serviceActionKey: 1n } as const;
  await session.persistentReserve(0, { ...own, action: 'register-and-ignore' });
  await session.persistentReserve(0, { ...own, action: 'clear', key: 1n, serviceActionKey: 0n });
  await session.close();
}

function diskProcess(runDirectory: string): number {
  return Number(readFileSync(`${runDirectory}/blk/db/0/qsd.pid`, 'utf8'));
}

/** Threads of a process that wait in the kernel for a disk. */
function unanswered(pid: number): number {
  return readdirSync(`/proc/${pid}/task`).filter((task) => {
    const stat = readFileSync(`/proc/${pid}/task/${task}/stat`, 'utf8');
    return stat.slice(stat.lastIndexOf(')') + 2).startsWith('D');
  }).length;
}

/** Of the LUN's bytes, read beside the target. */
function diskSum(): string {
  return createHash('sha256').update(readFileSync(lioDisk)).digest('hex');
}
