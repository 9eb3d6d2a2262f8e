import { mkdirSync, readFileSync, rmdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'tap';
import { assignmentKey, configKey, maskKey } from '../../src/control/keys.js';
import type { ConfigRecord } from '../../src/control/records.js';
import { IscsiSession } from '../../src/storage/iscsi-session.js';
import { silent } from '../../src/storage/log.js';
import { keepMasks } from '../../src/storage/target-main.js';
import { TgtMask } from '../../src/storage/tgt-mask.js';
import { initiatorName } from '../../src/storage/types.js';
import { MemoryStore } from '../../src/store/memory.js';
import { systemTimers } from '../../src/store/timers.js';
import { configWith } from './cluster-file.js';
import { startLunServer, until } from './lun-server.js';

const never = new AbortController().signal;
const limits = { loginMs: 1_000, commandMs: 1_000 };
const name = (host: string, epoch: number) => initiatorName('test', 'web1', host, epoch);

async function codeOf(work: Promise<unknown>): Promise<string> {
  return work.then(
    () => 'no error',
    (thrown: unknown) => (thrown as { code?: string }).code ?? String(thrown),
  );
}

test('masks on tgt', async (t) => {
  const server = await startLunServer(t);
  const { controlPort, ipcSocket } = server;
  const ledgerFile = join(server.directory, 'epochs.json');
  const newMask = (file = ledgerFile) => new TgtMask({ controlPort, ipcSocket, ledgerFile: file });
  const login = (target: string, initiator: string) =>
    IscsiSession.login([server.portal], target, initiator, never, limits);
  const acl = (target: string) =>
    server
      .tgtadm('--op', 'show', '--mode', 'target')
      .split(/^Target /m)
      .find((part) => part.includes(target))
      ?.split('ACL information:\n')[1]
      ?.trim();

  await t.test('the old one is out, the new one in, strangers too are out', async (t) => {
    const target = 'iqn.2026-11.test:one';
    server.addTarget({ tid: 1, name: target });
    server.tgtadm('--op', 'bind', '--mode', 'target', '--tid', '1', '-I', '10.0.0.0/8');
    const mask = newMask();
    const stranger = await login(target, 'iqn.2026-11.test:stranger');
    await mask.apply({ target, epoch: 1, initiator: name('h1', 1), personality: 'web1' }, never);
    t.equal(acl(target), name('h1', 1));
    t.equal(await codeOf(stranger.testUnitReady(1)), 'US_STORAGE_UNREACHABLE', 'thrown out');
    const first = await login(target, name('h1', 1));
    await first.testUnitReady(1);

    const second = { target, epoch: 2, initiator: name('h2', 2), personality: 'web1' };
    await mask.apply(second, never);
    t.equal(await codeOf(first.testUnitReady(1)), 'US_STORAGE_UNREACHABLE');
    t.equal(await codeOf(login(target, name('h1', 1))), 'US_STORAGE_TARGET_NOT_FOUND');
    const owner = await login(target, name('h2', 2));
    t.equal(await mask.holds(second, never), true);

    await mask.apply(second, never);
    await owner.testUnitReady(1);
    t.pass('the same order again leaves the owner logged in');

    await mask.apply({ ...second, epoch: 3, initiator: undefined }, never);
    t.equal(acl(target), '');
    t.equal(await codeOf(owner.testUnitReady(1)), 'US_STORAGE_UNREACHABLE');
    t.equal(await codeOf(login(target, name('h2', 2))), 'US_STORAGE_TARGET_NOT_FOUND');
    for (const session of [stranger, first, owner]) await session.close();
  });

  await t.test('a restarted daemon refuses older epochs', async (t) => {
    const target = 'iqn.2026-11.test:one';
    const restarted = newMask();
    const late = { target, epoch: 2, initiator: name('h2', 2), personality: 'web1' };
    t.equal(await codeOf(restarted.apply(late, never)), 'US_STORAGE_STALE_EPOCH');
    t.equal(acl(target), '', 'nothing was changed');
    t.equal(statSync(ledgerFile).mode & 0o777, 0o600);
    t.match(JSON.parse(readFileSync(ledgerFile, 'utf8')), { targets: { [target]: { epoch: 3 } } });
  });

  await t.test('nobody is let in before the order is on disk; the old one is out', async (t) => {
    const target = 'iqn.2026-11.test:ledger';
    server.addTarget({ tid: 7, name: target });
    const file = join(server.directory, 'obstructed.json');
    const mask = newMask(file);
    await mask.apply({ target, epoch: 1, initiator: name('h1', 1), personality: 'web1' }, never);
    // Root may write anywhere: so a folder takes the place of the file that is written first.
    mkdirSync(`${file}.new`);
    const next = { target, epoch: 2, initiator: name('h2', 2), personality: 'web1' };
    t.equal(await codeOf(mask.apply(next, never)), 'US_STORAGE_LEDGER');
    t.equal(acl(target), '');
    rmdirSync(`${file}.new`);
    await mask.apply(next, never);
    t.equal(acl(target), name('h2', 2));
    t.match(JSON.parse(readFileSync(file, 'utf8')), { targets: { [target]: { epoch: 2 } } });
  });

  await t.test('no such target; no such daemon', async (t) => {
    const file = join(server.directory, 'other.json');
    const order = { target: 'iqn.2026-11.test:none', epoch: 1, initiator: name('h1', 1) };
    t.equal(await codeOf(newMask(file).apply(order, never)), 'US_STORAGE_TARGET_NOT_FOUND');
    const nobody = { ipcSocket: join(server.directory, 'nobody'), ledgerFile: file };
    t.equal(
      await codeOf(new TgtMask({ controlPort, ...nobody }).apply(order, never)),
      'US_STORAGE_TARGET_DAEMON',
    );
  });

  await t.test(
    'masks follow the store, and are put right when somebody changes them',
    async (t) => {
      const target = 'iqn.2026-11.test:two';
      const store = new MemoryStore();
      const stop = new AbortController();
      const put = async (key: string, value: object) => {
        await store.transact({
          compare: [],
          write: [{ kind: 'put', key, value: JSON.stringify(value) }],
        });
      };
      const recorded = async () => {
        const entry = await store.get(maskKey(target));
        return entry === undefined ? undefined : JSON.parse(entry.value);
      };
      const running = keepMasks(
        {
          store,
          mask: newMask(join(server.directory, 'kept.json')),
          log: silent,
          timers: systemTimers(),
          nowMs: () => performance.now(),
          verifyEveryMs: 100,
        },
        stop.signal,
      );
      const config = configWith({ a: target }, { web1: ['a'] });
      await put(configKey, { generation: 1, config } satisfies ConfigRecord);
      const assigned = {
        host: 'h1',
        incarnation: 1,
        epoch: 1,
        state: 'assigned',
        to: null,
        failover: null,
      };
      await put(assignmentKey('personality', 'web1'), assigned);
      await until(async () => /no target of that name/.test((await recorded())?.error ?? ''));
      t.pass('what went wrong is in the record');

      server.addTarget({ tid: 2, name: target });
      await until(async () => (await recorded())?.error === undefined);
      t.match(await recorded(), {
        personality: 'web1',
        host: 'h1',
        epoch: 1,
        initiator: name('h1', 1),
      });
      t.equal(acl(target), name('h1', 1));

      await put(assignmentKey('personality', 'web1'), { ...assigned, state: 'draining' });
      await put(assignmentKey('personality', 'web1'), { ...assigned, host: 'h2', epoch: 2 });
      await until(async () => (await recorded())?.epoch === 2);
      t.equal(acl(target), name('h2', 2));
      t.comment(`mask moved in ${(await recorded()).tookMs} ms`);

      server.tgtadm('--op', 'bind', '--mode', 'target', '--tid', '2', '-I', 'ALL');
      await until(() => acl(target) === name('h2', 2));
      t.pass('put right');

      await put(configKey, { generation: 2, config: configWith({}, { web1: [] }) });
      await until(async () => (await recorded()) === undefined);
      t.equal(acl(target), '', 'a target that left the configuration is closed');
      stop.abort();
      await running;
      await store.stop();
    },
  );
});
