import { execFileSync } from 'node:child_process';
import { mkdirSync, readdirSync, readFileSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type Test, test } from 'tap';
import { IscsiSession } from '../../src/storage/iscsi-session.js';
import { TgtMask } from '../../src/storage/tgt-mask.js';
import { initiatorName } from '../../src/storage/types.js';
import { codeOf } from './attached.js';
import { startLunServer, until } from './lun-server.js';
import { maskCases } from './mask-cases.js';
import { RawInitiator } from './raw-initiator.js';

const never = new AbortController().signal;
const limits = { loginMs: 1_000, commandMs: 1_000 };
const owner = initiatorName('test', 'web1', 'h1', 1);
const port = 3310;

test('masks on tgt', async (t) => {
  const server = await startLunServer(t, port);
  const { controlPort, ipcSocket, portal, directory } = server;
  const newMask = (ledgerFile: string) => new TgtMask({ controlPort, ipcSocket, ledgerFile });
  const ids = new Map<string, number>();
  const addTarget = (name: string) => {
    const tid = ids.size + 1;
    ids.set(name, tid);
    return server.addTarget({ tid, name, initiators: [] });
  };
  const bind = (target: string, ...who: string[]) =>
    server.tgtadm('--op', 'bind', '--mode', 'target', '--tid', String(ids.get(target)), ...who);
  const admitted = (target: string) => {
    const targets = server.tgtadm('--op', 'show', '--mode', 'target').split(/^Target /m);
    const shown = targets.find((part) => part.includes(`${target}\n`));
    return shown?.split('ACL information:\n')[1]?.match(/\S+/g) ?? [];
  };

  await maskCases(t, {
    ...{ portal, port, directory, mask: newMask, addTarget, admitted },
    endsConnections: true,
    letIn: (target, initiator) => bind(target, '--initiator-name', initiator),
  });

  await t.test('strangers are out: the whole list is ours', async (t) => {
    const target = 'iqn.2026-11.test:strangers';
    addTarget(target);
    bind(target, '-I', '127.0.0.0/8');
    const stranger = await IscsiSession.login(
      [portal],
      target,
      'iqn.2026-11.test:stranger',
      never,
      limits,
    );
    const order = { target, epoch: 1, initiator: owner, personality: 'web1' };
    await newMask(join(directory, 'strangers.json')).apply(order, never);
    t.same(admitted(target), [owner]);
    t.equal(await codeOf(stranger.testUnitReady(1)), 'US_STORAGE_UNREACHABLE', 'thrown out');
    await stranger.close();
  });

  const order = (target: string, host: string, epoch: number) => ({
    ...{ target, epoch, personality: 'web1' },
    initiator: initiatorName('test', 'web1', host, epoch),
  });
  const begin = (t: Test, target: string, initiator: string, from: string) =>
    RawInitiator.begin(t, { port, target, initiator, from });

  await t.test('an old owner is out, by however many sessions and addresses', async (t) => {
    const target = 'iqn.2026-11.test:sessions';
    addTarget(target);
    const mask = newMask(join(directory, 'sessions.json'));
    await mask.apply(order(target, 'h1', 1), never);
    const login = () => IscsiSession.login([portal], target, owner, never, limits);
    const same = [await login(), await login()];
    const other = await begin(t, target, owner, '127.0.0.2');
    other.finishLogin();
    t.ok(await other.loggedIn());
    await mask.apply(order(target, 'h2', 2), never);
    for (const session of same) {
      t.equal(await codeOf(session.testUnitReady(1)), 'US_STORAGE_UNREACHABLE');
      await session.close();
    }
    await until(() => other.closed);
    t.pass('and the one from elsewhere');
  });

  await t.test('a login that hung half way does not come in from another address', async (t) => {
    const target = 'iqn.2026-11.test:elsewhere';
    addTarget(target);
    const mask = newMask(join(directory, 'elsewhere.json'));
    await mask.apply(order(target, 'h1', 1), never);
    const before = await IscsiSession.login([portal], target, owner, never, limits);
    t.ok(await mask.holds(order(target, 'h1', 1), never), 'it was seen at one address');
    const old = await begin(t, target, owner, '127.0.0.2');
    await mask.apply(order(target, 'h2', 2), never);
    old.finishLogin();
    t.equal(await old.loggedIn(), false);
    await before.close();
  });

  await t.test('nor from one where its host has another volume', async (t) => {
    const [target, another] = ['iqn.2026-11.test:third', 'iqn.2026-11.test:another'];
    for (const name of [target, another]) addTarget(name);
    const mask = newMask(join(directory, 'third.json'));
    await mask.apply(order(target, 'h1', 1), never);
    const beside = initiatorName('test', 'web2', 'h1', 4);
    await mask.apply({ ...order(another, 'h1', 4), personality: 'web2', initiator: beside }, never);
    const before = await IscsiSession.login([portal], target, owner, never, limits);
    t.ok(await mask.holds(order(target, 'h1', 1), never));
    const other = await begin(t, another, beside, '127.0.0.3');
    other.finishLogin();
    t.ok(await other.loggedIn());
    const old = await begin(t, target, owner, '127.0.0.3');
    await mask.apply(order(target, 'h2', 2), never);
    old.finishLogin();
    t.equal(await old.loggedIn(), false);
    await before.close();
  });

  await t.test('nor past a daemon that was started anew in between', async (t) => {
    const target = 'iqn.2026-11.test:anew';
    addTarget(target);
    const ledger = join(directory, 'anew.json');
    await newMask(ledger).apply(order(target, 'h1', 1), never);
    const old = await begin(t, target, owner, '127.0.0.2');
    // As far as the daemon before had come.
    server.tgtadm(
      ...['--op', 'unbind', '--mode', 'target', '--tid', String(ids.get(target))],
      ...['--initiator-name', owner],
    );
    await newMask(ledger).apply(order(target, 'h2', 2), never);
    old.finishLogin();
    t.equal(await old.loggedIn(), false);
  });

  await t.test('nor past a dead connection whose write the disk has not done', async (t) => {
    const target = 'iqn.2026-11.test:hangs';
    const file = addTarget(target);
    const [image, folder] = [`${file}.ext4`, `${file}.mnt`];
    const run = (program: string, ...argv: string[]) => execFileSync(program, argv);
    writeFileSync(image, '');
    truncateSync(image, 32 << 20);
    mkdirSync(folder);
    run('mkfs.ext4', '-q', image);
    run('mount', '-o', 'loop', image, folder);
    t.teardown(() => run('umount', '--lazy', folder));
    writeFileSync(join(folder, 'lun'), '');
    truncateSync(join(folder, 'lun'), 16 << 20);
    const unit = ['--mode', 'logicalunit', '--tid', String(ids.get(target)), '--lun', '2'];
    server.tgtadm('--op', 'new', ...unit, '-b', join(folder, 'lun'));
    const mask = newMask(join(directory, 'hangs.json'));
    await mask.apply(order(target, 'h1', 1), never);
    const dead = await begin(t, target, owner, '127.0.0.5');
    dead.finishLogin();
    t.ok(await dead.loggedIn());
    (await dead.announceWrite(2, 8)).goOn(0xaa);
    // UNIT ATTENTION first, which takes the place of the write.
    await dead.answered();
    const late = await dead.announceWrite(2, 8);
    run('fsfreeze', '--freeze', folder);
    let frozen = true;
    const thaw = () => {
      if (frozen) run('fsfreeze', '--unfreeze', folder);
      frozen = false;
    };
    t.teardown(thaw);
    late.goOn(0xbb);
    await until(() => isBlocked(server.pid));
    dead.end();
    const half = await begin(t, target, owner, '127.0.0.5');
    t.equal(await codeOf(mask.apply(order(target, 'h2', 2), never)), 'US_STORAGE_MASK');
    thaw();
    await mask.apply(order(target, 'h2', 2), never);
    half.finishLogin();
    t.equal(await half.loggedIn(), false);
  });

  await t.test('a login of another host is left alone', async (t) => {
    const [target, another] = ['iqn.2026-11.test:fifth', 'iqn.2026-11.test:others'];
    for (const name of [target, another]) addTarget(name);
    const mask = newMask(join(directory, 'fifth.json'));
    await mask.apply(order(target, 'h1', 1), never);
    const guest = initiatorName('test', 'web2', 'h9', 4);
    await mask.apply({ ...order(another, 'h9', 4), personality: 'web2', initiator: guest }, never);
    const before = await IscsiSession.login([portal], target, owner, never, limits);
    t.ok(await mask.holds(order(target, 'h1', 1), never));
    const there = await begin(t, another, guest, '127.0.0.4');
    there.finishLogin();
    t.ok(await there.loggedIn());
    // One more of the same name would take the place of the first.
    const second = initiatorName('test', 'web3', 'h9', 5);
    bind(another, '--initiator-name', second);
    const slow = await begin(t, another, second, '127.0.0.4');
    await mask.apply(order(target, 'h2', 2), never);
    slow.finishLogin();
    t.ok(await slow.loggedIn(), 'one that takes its time');
    await before.close();
  });

  await t.test('no such daemon', async (t) => {
    const ledgerFile = join(directory, 'other.json');
    const order = { target: 'iqn.2026-11.test:none', epoch: 1, initiator: owner };
    const nobody = { controlPort, ipcSocket: join(directory, 'nobody'), ledgerFile };
    t.equal(await codeOf(new TgtMask(nobody).apply(order, never)), 'US_STORAGE_TARGET_DAEMON');
  });
});

/** Whether a thread of it waits for a disk. */
function isBlocked(pid: number): boolean {
  return readdirSync(`/proc/${pid}/task`).some((thread) =>
    / D /.test(readFileSync(`/proc/${pid}/task/${thread}/stat`, 'utf8')),
  );
}
