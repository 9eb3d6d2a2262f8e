import { join } from 'node:path';
import { test } from 'tap';
import { IscsiSession } from '../../src/storage/iscsi-session.js';
import { TgtMask } from '../../src/storage/tgt-mask.js';
import { initiatorName } from '../../src/storage/types.js';
import { codeOf } from './attached.js';
import { startLunServer } from './lun-server.js';
import { maskCases } from './mask-cases.js';

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

  await t.test('no such daemon', async (t) => {
    const ledgerFile = join(directory, 'other.json');
    const order = { target: 'iqn.2026-11.test:none', epoch: 1, initiator: owner };
    const nobody = { controlPort, ipcSocket: join(directory, 'nobody'), ledgerFile };
    t.equal(await codeOf(new TgtMask(nobody).apply(order, never)), 'US_STORAGE_TARGET_DAEMON');
  });
});
