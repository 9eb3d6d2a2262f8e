import { mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { type Test, test } from 'tap';
import { TgtControl } from '../../src/storage/tgt-control.js';
import { startLunServer } from './lun-server.js';

const never = new AbortController().signal;
const host = 'iqn.2026-11.test:h1';

/** A path that fits into a socket's address (unix(7)). */
function socketPath(t: Test): string {
  const directory = mkdtempSync('/dev/shm/ustest-tgt-');
  t.teardown(() => rmSync(directory, { recursive: true, force: true }));
  return join(directory, 's');
}

test('a real tgtd does by its socket what tgtadm would have it do', async (t) => {
  const { controlPort, ipcSocket, addTarget, tgtadm } = await startLunServer(t);
  addTarget({ tid: 1, name: 'iqn.2026-11.test:one', initiators: [] });
  const control = new TgtControl({ controlPort, ipcSocket });
  const admitted = async () => (await control.targets(never)).map((one) => one.admitted);

  for (const entry of [host, '10.0.0.1']) {
    await control.bind(1, entry, never);
    t.same(await admitted(), [[entry]]);
    t.match(tgtadm('--op', 'show', '--mode', 'target'), entry);
    await control.bind(1, entry, never);
    t.same(await admitted(), [[entry]], 'twice is once');
    await control.unbind(1, entry, never);
    await control.unbind(1, entry, never);
    t.same(await admitted(), [[]]);
  }
  t.same(await control.connections(1, never), []);
  const nobody = { session: 7, connection: 9, initiator: host, address: '' };
  await control.disconnect(1, nobody, never);
  const refused = { code: 'US_STORAGE_TGTADM', message: /can't find the target/ };
  await t.rejects(control.bind(9, host, never), refused);
  await t.rejects(control.connections(9, never), refused);
});

test('a daemon that answers something else is found out', async (t) => {
  const answers = [Buffer.alloc(0), Buffer.from('hello'), Buffer.from([0, 0, 0, 0, 99, 0, 0, 0])];
  const server = createServer((socket) => {
    socket.on('data', () => socket.end(answers.shift() ?? ''));
  });
  const ipcSocket = socketPath(t);
  await new Promise<void>((resolve) => server.listen(`${ipcSocket}.0`, resolve));
  t.teardown(() => server.close());
  const control = new TgtControl({ ipcSocket });
  for (const _ of [...answers]) {
    await t.rejects(control.targets(never), { code: 'US_STORAGE_TARGET_DAEMON' });
  }
});

test('one that does not answer is not waited for', async (t) => {
  const server = createServer(() => {});
  const ipcSocket = socketPath(t);
  await new Promise<void>((resolve) => server.listen(`${ipcSocket}.0`, resolve));
  t.teardown(() => server.close());
  const control = new TgtControl({ ipcSocket, timeoutMs: 20 });
  await t.rejects(control.targets(never), { message: /no answer in 20 ms/ });
});
