import { execFileSync, spawn, spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import tap, { type Test, test } from 'tap';
import { mapStatus } from '../../src/ffi/device-mapper.js';
import { IscsiSession } from '../../src/storage/iscsi-session.js';
import { allMaps, failedPaths, refuseHeld } from '../../src/storage/kernel-map.js';
import { KernelReservations } from '../../src/storage/kernel-reservation.js';
import { disksOf, type KernelDisk } from '../../src/storage/kernel-sessions.js';
import { keyText, reservationKey } from '../../src/storage/reservation-key.js';
import { type AttachSpec, initiatorName, type StorageAdapter } from '../../src/storage/types.js';
import { manyWritesProgram, unanswered } from '../lab/many-writes.js';
import { codeOf } from '../storage/attached.js';
import { IscsiProxy } from '../storage/iscsi-proxy.js';
import { attachSpec, until } from '../storage/lun-server.js';
import { mountedAt, storageCases, volumeFolders } from '../storage/storage-cases.js';
import { startInitiator } from './initiator.js';
import { freshLun, kernelWorld, ourSessions } from './kernel-world.js';
import { addPortal, lioPort, lioPortal, startLio } from './lio.js';
import { StorageNetwork } from './storage-network.js';

/**
 * Run in a guest with LIO and an iSCSI initiator whose kernel has dm-multipath: volumes with two portals.
 *
 * Argument: `short` for the registrations and the fence alone.
 */
tap.setTimeout(640_000);
const short = process.argv[2] === 'short';
const never = new AbortController().signal;
const conflict = 0x18;
const good = 0;
const writesAtOnce = 1_000;
/** What may pass without an acknowledged write when a cable is cut: NOP-Outs 4 s, then the path's own 2 s. */
const mostGapMs = 20_000;

const run = (name: string) => join(kernelWorld.directory, name);
const keyOf = (host: string, epoch: number) => reservationKey({ cluster: 'test', host, epoch });

function volume(portals: readonly string[], change: Partial<AttachSpec> = {}) {
  const { file, ...lun } = freshLun();
  const fence = 'reservation';
  return { file, spec: attachSpec({ portal: lioPortal }, { ...lun, portals, fence, ...change }) };
}

async function fencedAndAttached(storage: StorageAdapter, spec: AttachSpec) {
  await storage.fence(spec, never);
  return storage.attach(spec, never);
}

/** Every disk of ours. */
async function paths(): Promise<readonly KernelDisk[]> {
  return (await Promise.all((await ourSessions()).map(({ name }) => disksOf(name)))).flat();
}

const ourMaps = async () => (await allMaps()).filter(({ name }) => name.startsWith('us-'));

async function logIn(t: Test, spec: AttachSpec, name: string): Promise<IscsiSession> {
  const session = await IscsiSession.login([lioPortal], spec.target, name);
  t.teardown(() => session.close());
  return session;
}

/** As the target tells: one for each nexus. */
async function keys(t: Test, spec: AttachSpec): Promise<readonly string[]> {
  const session = await logIn(t, spec, 'iqn.2026-11.test:looks-on');
  return (await session.reservationKeys(spec.targetLun)).keys.map(keyText);
}

async function nothingLeft(t: Test, runDirectory: string): Promise<void> {
  t.same(await ourMaps(), [], 'no map is left');
  t.same(await ourSessions(), [], 'no session');
  t.same(volumeFolders(runDirectory), [], 'no folder');
  t.notOk(mountedAt(runDirectory), 'no mount');
}

test('a volume with two portals', async (t) => {
  startLio();
  startInitiator(t);
  const second = '127.0.0.2:3260';
  addPortal(second);
  const both = [lioPortal, second];

  await t.test('it has a path by each, registered on its own, and is one disk', async (t) => {
    const storage = await kernelWorld.open(t, run('two'));
    const { spec, file } = volume(both);
    const { device, hostMount, sizeBytes } = await fencedAndAttached(storage, spec);
    t.match(device, /^\/dev\/dm-\d+$/);
    t.equal(sizeBytes, 64 * 1024 * 1024);
    const found = await paths();
    t.equal(new Set(found.map(({ session }) => session)).size, 2);
    const own = keyText(keyOf('h1', 1));
    t.same(await keys(t, spec), [own, own]);
    const [map] = await ourMaps();
    t.same(failedPaths(await mapStatus(map?.name ?? '')), []);
    for (const { session } of found) {
      const waits = readFileSync(`/sys/class/iscsi_session/${session}/recovery_tmo`, 'utf8');
      t.equal(waits.trim(), '2', 'what waits is the map, not a path');
    }
    t.equal(await codeOf(refuseHeld(spec, found)), 'US_STORAGE_ELSEWHERE', 'a map has them');
    writeFileSync(join(hostMount, 'note'), 'kept', { flush: true });
    t.same(
      (await storage.observe(never)).map((one) => one.device),
      [device],
    );
    t.match(await storage.fence(spec, never), { preempted: [] }, 'and it stands');

    await storage.stop();
    const next = await kernelWorld.open(t, run('two'));
    t.same(
      (await next.observe(never)).map((one) => one.device),
      [device],
      'the next agent adopts it',
    );
    await next.detach('web1', 0, never);
    await nothingLeft(t, run('two'));
    execFileSync('e2fsck', ['-fn', file], { stdio: 'pipe' });
    t.same(new Set(await keys(t, spec)), new Set([own]), 'it stays reserved');
  });

  await t.test('a host that was away is thrown out on every path', (t) => fencedOnEach(t, both));
  if (short) return;

  await t.test('a path whose registration is gone is noticed', async (t) => {
    const storage = await kernelWorld.open(t, run('lost'));
    const { spec } = volume(both);
    await fencedAndAttached(storage, spec);
    const looks = await logIn(t, spec, 'iqn.2026-11.test:looks');
    const [, other] = await paths();
    await new KernelReservations(`/dev/${other?.name}`, looks).persistentReserve(spec.targetLun, {
      ...{ action: 'register-and-ignore', type: 5, key: 0n, serviceActionKey: 0n, persists: true },
    });
    t.equal((await keys(t, spec)).length, 1);
    await storage.fence(spec, never);
    t.same(await storage.observe(never), [], 'its data path was ended');
    // What the one before had registered is the owner's as well, and stays.
    t.equal((await keys(t, spec)).length, 3, 'and it is fenced anew');
    const { hostMount } = await storage.attach(spec, never);
    writeFileSync(join(hostMount, 'note'), 'written', { flush: true });
    await storage.abort('web1', 0, never);
    await nothingLeft(t, run('lost'));
  });

  await t.test('one portal that does not answer costs a path, and no more', async (t) => {
    const storage = await kernelWorld.open(t, run('one'));
    const { spec } = volume(['127.0.0.1:3998', lioPortal]);
    const { device } = await fencedAndAttached(storage, spec);
    t.match(device, /^\/dev\/sd/);
    await storage.detach('web1', 0, never);
    await nothingLeft(t, run('one'));
  });

  await t.test('a path cut under writes', (t) => cutPaths(t));
  await t.test('the compliance suite', async (t) => {
    const open = async (t: Test, runDirectory: string): Promise<StorageAdapter> => {
      const storage = await kernelWorld.open(t, runDirectory);
      const attach = storage.attach.bind(storage);
      storage.attach = async (spec, signal) => {
        const portals = spec.portals.includes(lioPortal) ? both : spec.portals;
        const fenced: AttachSpec = { ...spec, portals, fence: 'reservation' };
        await storage.fence(fenced, signal);
        return attach(fenced, signal);
      };
      return storage;
    };
    await storageCases(t, { ...kernelWorld, open });
  });
});

/**
 * Each cable is cut, then both. What was acknowledged is there, nothing fails, and all goes on by itself.
 */
async function cutPaths(t: Test): Promise<void> {
  const networks = [StorageNetwork.make(1), StorageNetwork.make(2)] as const;
  const storage = await kernelWorld.open(t, run('cut'));
  const { spec, file } = volume(networks.map(({ portal }) => portal));
  const attached = await fencedAndAttached(storage, spec);
  const [map] = await ourMaps();
  const failed = async () => failedPaths(await mapStatus(map?.name ?? ''));
  const loop =
    'i=0; while :; do i=$((i+1)); echo $i >> "$1" && sync "$1" && echo $i || exit 1; done';
  const writer = spawn('sh', ['-c', loop, 'sh', join(attached.hostMount, 'lines')]);
  const ended = once(writer, 'close');
  t.teardown(() => writer.kill('SIGKILL'));
  let last = 0;
  const lines = createInterface({ input: writer.stdout });
  lines.on('line', (line) => {
    last = Number(line);
  });
  const next = () => once(lines, 'line', { signal: AbortSignal.timeout(mostGapMs) });
  const more = async (what: string) => {
    const fromMs = performance.now();
    for (const aim = last + 5; last < aim; ) await next();
    t.pass(`${what}: writes go on, five of them in ${Math.round(performance.now() - fromMs)} ms`);
  };
  await more('by both');
  for (const network of networks) {
    network.cut();
    await until(async () => (await failed()).length === 1, mostGapMs);
    await more('by the other one');
    t.same(await storage.observe(never), [attached]);
    network.restore();
    await until(async () => (await failed()).length === 0, mostGapMs);
    await more('by both again');
  }
  for (const network of networks) network.cut();
  await until(async () => (await failed()).length === 2, mostGapMs);
  const during = last;
  t.same(await storage.observe(never), [attached], 'without any path it is still the volume’s');
  for (const network of networks) network.restore();
  await until(async () => (await failed()).length === 0, mostGapMs);
  await more('after both were away');
  t.ok(last > during);
  t.equal(writer.exitCode, null, 'no write has failed');
  writer.kill('SIGKILL');
  await ended;
  const kept = readFileSync(join(attached.hostMount, 'lines'), 'utf8').trim().split('\n');
  t.ok(
    kept.length >= last && kept.every((line, at) => Number(line) === at + 1),
    `all ${last} acknowledged lines are there`,
  );
  for (const network of networks) network.cut();
  await until(async () => (await failed()).length >= 1, mostGapMs);
  await storage.abort('web1', 0, never);
  await nothingLeft(t, run('cut'));
  for (const network of networks) network.restore();
  // 1: its journal was replayed.
  t.ok((spawnSync('e2fsck', ['-fp', file]).status ?? 9) <= 1, 'the file system is whole');
}

/** Its writes are under way when both its paths are cut; another host takes over; the paths come back. */
async function fencedOnEach(t: Test, direct: readonly string[]): Promise<void> {
  const proxies = [
    await IscsiProxy.start(t, { port: 3271, targetPort: lioPort }),
    await IscsiProxy.start(t, { port: 3272, targetPort: lioPort }),
  ];
  const h1 = await kernelWorld.open(t, run('h1'));
  const h2 = await kernelWorld.open(t, run('h2'));
  const { spec, file } = volume(proxies.map(({ portal }) => portal));
  const diskSum = () => createHash('sha256').update(readFileSync(file)).digest('hex');
  const { hostMount } = await fencedAndAttached(h1, spec);
  const old = await paths();
  t.equal(old.length, 2);
  const writer = spawn(manyWritesProgram(t), [`${hostMount}/many`, String(writesAtOnce)]);
  t.teardown(() => writer.kill('SIGKILL'));
  const ended = once(writer, 'close');
  await once(createInterface({ input: writer.stdout }), 'line');
  for (const proxy of proxies) await proxy.cut();
  await until(() => unanswered(writer.pid ?? 0) >= writesAtOnce);
  t.pass(`${unanswered(writer.pid ?? 0)} writes are under way when the host is cut off`);

  const later = { ...spec, host: 'h2', epoch: 2, portals: direct };
  const [mine, his] = [keyText(keyOf('h2', 2)), keyText(keyOf('h1', 1))];
  t.same(await h2.fence(later, never), { key: mine, preempted: [his] });
  t.same(await keys(t, spec), [mine, mine], 'one order throws him out on every path');
  const taken = await h2.attach(later, never);
  writeFileSync(`${taken.hostMount}/owner`, 'h2', { flush: true });
  execFileSync('fsfreeze', ['--freeze', taken.hostMount]);
  const unchanged = diskSum();
  const answered = async () =>
    (await Promise.all(proxies.map((one) => one.seen()))).map((seen) => seen.answers);
  const before = (await answered()).map((answers) => answers.length);

  for (const proxy of proxies) await proxy.restore();
  const [code] = await ended;
  t.not(code, 0, 'the old host’s writes fail');
  // Past the map, by each path: what it queued may all have gone by one of them.
  for (const { name, folder } of old) {
    await until(() => readFileSync(`${folder}/state`, 'utf8').trim() === 'running');
    t.not(await written(name), 0, `nothing is written by ${name}`);
  }
  const name = initiatorName('test', 'web1', 'h1', 1);
  for (const [at, all] of (await answered()).entries()) {
    const writes = all.slice(before[at]).filter((one) => one.writes && one.initiator === name);
    const refused = writes.filter(({ status }) => status === conflict).length;
    t.ok(refused > 0, `path ${at}: the target answers ${refused} writes by RESERVATION CONFLICT`);
    t.equal(writes.filter(({ status }) => status === good).length, 0, 'and none by GOOD');
  }
  t.equal(diskSum(), unchanged, 'not a byte of the LUN has changed');
  t.equal(await codeOf(h1.fence(spec, never)), 'US_STORAGE_STALE_EPOCH', 'nor can it come back');
  execFileSync('fsfreeze', ['--unfreeze', taken.hostMount]);
  writeFileSync(`${taken.hostMount}/owner`, 'still h2', { flush: true });
  await h1.abort('web1', 0, never);
  t.equal((await ourMaps()).length, 1, 'what one ends is not the other’s');
  await h2.detach('web1', 0, never);
  await nothingLeft(t, run('h1'));
  await nothingLeft(t, run('h2'));
}

async function written(disk: string): Promise<number> {
  const argv = [
    'if=/dev/zero',
    `of=/dev/${disk}`,
    'bs=4096',
    'count=1',
    'seek=9000',
    'oflag=direct',
  ];
  const [code] = (await once(spawn('dd', argv, { stdio: 'ignore' }), 'close')) as [number];
  return code;
}
