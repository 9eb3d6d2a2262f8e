import { spawn } from 'node:child_process';
import {
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmdirSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import type { Test } from 'tap';
import { assignmentKey, configKey, maskKey } from '../../src/control/keys.js';
import type { ConfigRecord } from '../../src/control/records.js';
import { IscsiSession } from '../../src/storage/iscsi-session.js';
import { silent } from '../../src/storage/log.js';
import type { VerifiableMask } from '../../src/storage/mask-keeper.js';
import { keepMasks } from '../../src/storage/target-main.js';
import { initiatorName, type MaskOrder } from '../../src/storage/types.js';
import { MemoryStore } from '../../src/store/memory.js';
import { systemTimers } from '../../src/store/timers.js';
import { codeOf, storageIn } from './attached.js';
import { configWith } from './cluster-file.js';
import { attachSpec, until } from './lun-server.js';
import { RawInitiator } from './raw-initiator.js';

/** A target, and what keeps its masks. */
export interface MaskWorld {
  readonly portal: string;
  readonly port: number;
  /** For whatever the cases make; gone after them. */
  readonly directory: string;
  mask(ledgerFile: string): VerifiableMask;
  /** With one LUN, number 1, of 64 MiB, and nobody let in. @returns the file behind it */
  addTarget(name: string): string;
  /** As the target itself tells. */
  admitted(target: string): readonly string[];
  /** What a person does by hand. */
  letIn(target: string, initiator: string): void;
  /** Whether the kernel ends a connection that it is asked to (CONFIG_INET_DIAG_DESTROY). */
  readonly endsConnections: boolean;
}

const never = new AbortController().signal;
const limits = { loginMs: 3_000, commandMs: 3_000 };
const name = (host: string, epoch: number) => initiatorName('test', 'web1', host, epoch);
const luns = [1];
const orderOf = (target: string, host: string, epoch: number) => ({
  ...{ target, luns, epoch, personality: 'web1', initiator: name(host, epoch) },
});

/** What holds for masks on any target. */
export async function maskCases(t: Test, world: MaskWorld): Promise<void> {
  await t.test('the old one is out, the new one in', (t) => oneOut(t, world));
  await t.test('nobody is let in before the order is on disk', (t) => ledgerFirst(t, world));
  await t.test('masks follow the store, and are put right', (t) => followed(t, world));
  await t.test('a write that was announced before does not land', (t) => announced(t, world));
  await t.test('a login that hung half way does not come in', (t) => halfLogin(t, world));
  await t.test('a frozen old owner writes nothing', (t) => frozen(t, world));
}

async function oneOut(t: Test, world: MaskWorld): Promise<void> {
  const target = 'iqn.2026-11.test:one';
  const ledger = join(world.directory, 'one.json');
  const login = (initiator: string) =>
    IscsiSession.login([world.portal], target, initiator, never, limits);
  world.addTarget(target);
  const mask = world.mask(ledger);
  await mask.apply(orderOf(target, 'h1', 1), never);
  t.same(world.admitted(target), [name('h1', 1)]);
  const first = await login(name('h1', 1));
  await first.testUnitReady(1);

  const second = orderOf(target, 'h2', 2);
  await mask.apply(second, never);
  t.equal(await codeOf(first.testUnitReady(1)), 'US_STORAGE_UNREACHABLE');
  t.equal(await codeOf(login(name('h1', 1))), 'US_STORAGE_TARGET_NOT_FOUND');
  const owner = await login(name('h2', 2));
  t.equal(await mask.holds(second, never), true);

  await mask.apply(second, never);
  await owner.testUnitReady(1);
  t.pass('the same order again leaves the owner logged in');

  await mask.apply({ ...second, epoch: 3, initiator: undefined }, never);
  t.same(world.admitted(target), []);
  t.equal(await codeOf(owner.testUnitReady(1)), 'US_STORAGE_UNREACHABLE');
  t.equal(await codeOf(login(name('h2', 2))), 'US_STORAGE_TARGET_NOT_FOUND');
  for (const session of [first, owner]) await session.close();

  const restarted = world.mask(ledger);
  t.equal(
    await codeOf(restarted.apply(second, never)),
    'US_STORAGE_STALE_EPOCH',
    'by a new daemon',
  );
  t.same(world.admitted(target), [], 'nothing was changed');
  t.equal(statSync(ledger).mode & 0o777, 0o600);
  t.match(JSON.parse(readFileSync(ledger, 'utf8')), { targets: { [target]: { epoch: 3 } } });
  const nowhere = orderOf('iqn.2026-11.test:none', 'h1', 1);
  t.equal(await codeOf(mask.apply(nowhere, never)), 'US_STORAGE_TARGET_NOT_FOUND');
}

async function ledgerFirst(t: Test, world: MaskWorld): Promise<void> {
  const target = 'iqn.2026-11.test:ledger';
  world.addTarget(target);
  const file = join(world.directory, 'obstructed.json');
  const mask = world.mask(file);
  await mask.apply(orderOf(target, 'h1', 1), never);
  // Root may write anywhere: so a folder takes the place of the file that is written first.
  mkdirSync(`${file}.new`);
  const next = orderOf(target, 'h2', 2);
  t.equal(await codeOf(mask.apply(next, never)), 'US_STORAGE_LEDGER');
  t.same(world.admitted(target), [], 'the old one is out');
  rmdirSync(`${file}.new`);
  await mask.apply(next, never);
  t.same(world.admitted(target), [name('h2', 2)]);
  t.match(JSON.parse(readFileSync(file, 'utf8')), { targets: { [target]: { epoch: 2 } } });
}

async function followed(t: Test, world: MaskWorld): Promise<void> {
  const target = 'iqn.2026-11.test:two';
  const store = new MemoryStore();
  const stop = new AbortController();
  const put = async (key: string, value: object) => {
    const write = [{ kind: 'put' as const, key, value: JSON.stringify(value) }];
    await store.transact({ compare: [], write });
  };
  const recorded = async () => {
    const entry = await store.get(maskKey(target));
    return entry === undefined ? undefined : JSON.parse(entry.value);
  };
  const mask = world.mask(join(world.directory, 'kept.json'));
  const timing = { timers: systemTimers(), nowMs: () => performance.now(), verifyEveryMs: 100 };
  const running = keepMasks({ store, mask, log: silent, ...timing }, stop.signal);
  const config = configWith({ a: target }, { web1: ['a'] });
  await put(configKey, { generation: 1, config } satisfies ConfigRecord);
  const state = { incarnation: 1, state: 'assigned', to: null, failover: null };
  const assigned = { ...state, host: 'h1', epoch: 1 };
  await put(assignmentKey('personality', 'web1'), assigned);
  await until(async () => /no target of that name/.test((await recorded())?.error ?? ''));
  t.pass('what went wrong is in the record');

  world.addTarget(target);
  await until(async () => (await recorded())?.error === undefined);
  const { host, epoch, initiator } = await recorded();
  t.same({ host, epoch, initiator }, { host: 'h1', epoch: 1, initiator: name('h1', 1) });
  t.same(world.admitted(target), [name('h1', 1)]);

  await put(assignmentKey('personality', 'web1'), { ...assigned, state: 'draining' });
  await put(assignmentKey('personality', 'web1'), { ...assigned, host: 'h2', epoch: 2 });
  await until(async () => (await recorded())?.epoch === 2);
  t.same(world.admitted(target), [name('h2', 2)]);
  t.comment(`mask moved in ${(await recorded()).tookMs} ms`);

  world.letIn(target, name('h1', 1));
  await until(() => world.admitted(target).join() === name('h2', 2));
  t.pass('put right');

  await put(configKey, { generation: 2, config: configWith({}, { web1: [] }) });
  await until(async () => (await recorded()) === undefined);
  t.same(world.admitted(target), [], 'a target that left the configuration is closed');
  stop.abort();
  await running;
  await store.stop();
}

/** Between the announcement of a write and its data the target has nothing to do, and waits. */
async function announced(t: Test, world: MaskWorld): Promise<void> {
  const target = 'iqn.2026-11.test:announced';
  const file = world.addTarget(target);
  const mask = world.mask(join(world.directory, 'announced.json'));
  await mask.apply(orderOf(target, 'h1', 1), never);
  const who = { port: world.port, target, initiator: name('h1', 1) };
  const old = await RawInitiator.begin(t, who);
  old.finishLogin();
  t.ok(await old.loggedIn());
  const block = 2_048;
  const written = () => readFileSync(file)[block * 512];
  (await old.announceWrite(1, block)).goOn(0xaa);
  // UNIT ATTENTION first, which takes the place of the write.
  if ((await old.answered()) !== 0) {
    (await old.announceWrite(1, block)).goOn(0xaa);
    t.equal(await old.answered(), 0);
  }
  t.equal(written(), 0xaa, 'one whose data follows at once does');

  const late = await old.announceWrite(1, block);
  await mask.apply(orderOf(target, 'h2', 2), never);
  late.goOn(0xbb);
  t.equal(await old.answered(), undefined, 'its connection has ended');
  const owner = await IscsiSession.login([world.portal], target, name('h2', 2), never, limits);
  const [first] = await owner.read(1, BigInt(block), 512, 512);
  t.equal(first, 0xaa, 'the new owner reads what was there');
  t.equal(written(), 0xaa);
  await owner.close();
}

async function halfLogin(t: Test, world: MaskWorld): Promise<void> {
  const target = 'iqn.2026-11.test:half';
  world.addTarget(target);
  const mask = world.mask(join(world.directory, 'half.json'));
  const order = (host: string, epoch: number) => orderOf(target, host, epoch);
  await mask.apply(order('h1', 1), never);
  // Its owner was logged in before, as one that stops has been: so it is known where it comes from.
  const before = await IscsiSession.login([world.portal], target, name('h1', 1), never, limits);
  t.equal(await mask.holds(order('h1', 1), never), true);
  await before.close();
  const begin = (initiator: string) =>
    RawInitiator.begin(t, { port: world.port, target, initiator });
  const old = await begin(name('h1', 1));
  if (!world.endsConnections) {
    const moving = mask.apply(order('h2', 2), never);
    t.equal(await codeOf(moving), 'US_STORAGE_MASK', 'it is waited for, and nobody is let in');
    old.finishLogin();
    t.ok(await old.loggedIn());
    t.equal(await old.refusedWrite(1, 8), 2, 'it sees no LUN: CHECK CONDITION');
    old.end();
    await applied(mask, order('h2', 2));
    return;
  }
  await mask.apply(order('h2', 2), never);
  old.finishLogin();
  t.equal(await old.loggedIn(), false);
  const owner = await IscsiSession.login([world.portal], target, name('h2', 2), never, limits);
  await owner.testUnitReady(1);
  const slow = await begin(name('h2', 2));
  const moved = mask.apply(order('h3', 3), never);
  slow.finishLogin();
  await moved;
  await until(() => slow.closed);
  t.same(world.admitted(target), [name('h3', 3)], 'and one that takes its time is thrown out');
  await owner.close();
}

/** As the mask's keeper does it: what cannot be done yet is tried again. */
async function applied(mask: VerifiableMask, order: MaskOrder): Promise<void> {
  const isDone = () =>
    mask.apply(order, never).then(
      () => true,
      (thrown: unknown) => {
        if ((thrown as { code?: string }).code === 'US_STORAGE_MASK') return false;
        throw thrown;
      },
    );
  await until(isDone, 30_000);
}

/** With the whole data path of a host: its writes wait in a process that is stopped. */
async function frozen(t: Test, world: MaskWorld): Promise<void> {
  const target = 'iqn.2026-11.test:fence';
  const file = world.addTarget(target);
  const mask = world.mask(join(world.directory, 'fence.json'));
  const order = (host: string, epoch: number) => orderOf(target, host, epoch);
  const spec = (host: string, epoch: number, format: 'never' | 'if-blank') =>
    attachSpec(world, { target, host, epoch, format });
  const run1 = join(world.directory, 'h1');
  const h1 = await storageIn(t, run1);
  const h2 = await storageIn(t, join(world.directory, 'h2'));
  await mask.apply(order('h1', 1), never);
  const old = await h1.attach(spec('h1', 1, 'if-blank'), never);
  writeFileSync(join(old.hostMount, 'note'), 'from h1', { flush: true });

  const pid = Number(readFileSync(join(run1, 'blk/web1/0/qsd.pid'), 'utf8'));
  process.kill(pid, 'SIGSTOP');
  const late = spawn('dd', [
    ...['if=/dev/urandom', `of=${join(old.hostMount, 'late')}`],
    ...['bs=64k', 'count=16', 'conv=fsync', 'status=none'],
  ]);
  const lateEnd = new Promise<number | null>((resolve) => late.once('exit', resolve));
  await mask.apply(order('h2', 2), never);
  const now = await h2.attach(spec('h2', 2, 'never'), never);
  t.equal(readFileSync(join(now.hostMount, 'note'), 'utf8'), 'from h1');
  writeFileSync(join(now.hostMount, 'note'), 'from h2', { flush: true });
  await h2.detach('web1', 0, never);
  const before = readFileSync(file);

  const refused = new RefusedLogins(pid);
  process.kill(pid, 'SIGCONT');
  await until(() => refused.count() >= 1);
  t.equal(late.exitCode, null, 'its write is not answered');
  t.ok(readFileSync(file).equals(before), 'not one byte of the LUN has changed');

  await mask.apply(order('h1', 3), never);
  const login = IscsiSession.login([world.portal], target, name('h1', 1), never, limits);
  const why = 'when its host has the volume again, what is left of the first time stays out';
  t.equal(await codeOf(login), 'US_STORAGE_TARGET_NOT_FOUND', why);
  await h1.abort('web1', 0, never);
  t.not(await lateEnd, 0, 'its late write failed');
  t.ok(readFileSync(file).equals(before), 'nothing was flushed on the way out');
  const again = await h1.attach(spec('h1', 3, 'never'), never);
  t.equal(readFileSync(join(again.hostMount, 'note'), 'utf8'), 'from h2');
  await h1.detach('web1', 0, never);
}

/** Its session is gone, so it logs in again and again: each new socket but the newest was refused. */
class RefusedLogins {
  readonly #pid: number;
  readonly #held: ReadonlySet<string>;
  readonly #seen = new Set<string>();

  constructor(pid: number) {
    this.#pid = pid;
    this.#held = socketsOf(pid);
  }

  count(): number {
    for (const socket of socketsOf(this.#pid)) if (!this.#held.has(socket)) this.#seen.add(socket);
    return this.#seen.size - 1;
  }
}

function socketsOf(pid: number): Set<string> {
  const links = readdirSync(`/proc/${pid}/fd`).map((fd) => {
    try {
      return readlinkSync(`/proc/${pid}/fd/${fd}`);
    } catch {
      return ''; // closed meanwhile
    }
  });
  return new Set(links.filter((link) => link.startsWith('socket:')));
}
