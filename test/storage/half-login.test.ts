import { once } from 'node:events';
import { connect } from 'node:net';
import { join } from 'node:path';
import { type Test, test } from 'tap';
import {
  countEach,
  halfLogins,
  parseEstablished,
  plainAddress,
} from '../../src/storage/half-login.js';
import { IscsiSession } from '../../src/storage/iscsi-session.js';
import { TgtMask } from '../../src/storage/tgt-mask.js';
import { initiatorName } from '../../src/storage/types.js';
import { startLunServer, until } from './lun-server.js';

const never = new AbortController().signal;
const name = (host: string, epoch: number) => initiatorName('test', 'web1', host, epoch);

/** RFC 7143 11.12: a Login Request. */
function loginRequest(stage: number, next: number, text: readonly string[]): Buffer {
  const data = Buffer.from(text.map((pair) => `${pair}\0`).join(''));
  const request = Buffer.alloc(48 + Math.ceil(data.length / 4) * 4);
  request[0] = 0x43;
  request[1] = 0x80 | (stage << 2) | next;
  request.writeUIntBE(data.length, 5, 3);
  request[8] = 0x80;
  request[11] = 7;
  request.writeUInt32BE(1, 16);
  request.writeUInt32BE(1, 24);
  data.copy(request, 48);
  return request;
}

/** A host that stops in the middle of its login, and later goes on with it. */
async function beginLogin(t: Test, port: number, target: string, initiator: string) {
  const socket = connect(port, '127.0.0.1');
  t.teardown(() => socket.destroy());
  let closed = false;
  socket.on('error', () => {});
  socket.on('close', () => {
    closed = true;
  });
  await once(socket, 'connect');
  const names = [`InitiatorName=${initiator}`, `TargetName=${target}`, 'SessionType=Normal'];
  socket.write(loginRequest(0, 1, [...names, 'AuthMethod=None']));
  const [answer] = (await once(socket, 'data')) as [Buffer];
  t.equal(answer.readUInt16BE(36), 0, 'the first half is accepted');
  return {
    isClosed: () => closed,
    goOn: () => socket.write(loginRequest(1, 3, ['HeaderDigest=None', 'DataDigest=None'])),
  };
}

test('a login that hung half way while its host lost the volume does not come in later', async (t) => {
  const port = 3310;
  const server = await startLunServer(t, port);
  const { controlPort, ipcSocket } = server;
  const ledgerFile = join(server.directory, 'epochs.json');
  const mask = new TgtMask({ controlPort, ipcSocket, ledgerFile });
  const target = 'iqn.2026-11.test:half';
  server.addTarget({ tid: 1, name: target, initiators: [] });
  const order = (host: string, epoch: number) => ({
    ...{ target, epoch, initiator: name(host, epoch), personality: 'web1' },
  });
  await mask.apply(order('h1', 1), never);
  const old = await beginLogin(t, port, target, name('h1', 1));

  await mask.apply(order('h2', 2), never);
  old.goOn();
  await until(() => old.isClosed());
  const shown = server.tgtadm('--op', 'show', '--mode', 'conn', '--tid', '1');
  t.notMatch(shown, name('h1', 1), 'it is not logged in');
  const owner = await IscsiSession.login([server.portal], target, name('h2', 2));
  await owner.testUnitReady(1);

  await t.test('and one that just takes its time is waited for, then thrown out', async (t) => {
    const slow = await beginLogin(t, port, target, name('h2', 2));
    const moved = mask.apply(order('h3', 3), never);
    slow.goOn();
    await moved;
    await until(() => slow.isClosed());
    t.notMatch(server.tgtadm('--op', 'show', '--mode', 'conn', '--tid', '1'), name('h2', 2));
  });
  await owner.close();
});

test('established connections, as the kernel lists them', async (t) => {
  const tcp = `  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt
   0: 0100007F:0CBC 00000000:0000 0A 00000000:00000000 00:00000000 00000000
   1: 0100000A:0CBC 6500000A:D431 01 00000000:00000000 00:00000000 00000000
   2: 0100000A:0CBC 6500000A:D433 06 00000000:00000000 00:00000000 00000000
   3: 0100000A:0016 6500000A:D435 01 00000000:00000000 00:00000000 00000000
`;
  t.same(parseEstablished(tcp, new Set([3260])), ['10.0.0.101']);
  const tcp6 = `  sl  local_address                         remote_address                        st
   0: 00000000000000000000000001000000:0CBC 00000000000000000000000001000000:9C4E 01 0
   1: 0000000000000000FFFF00000100000A:0CBC 0000000000000000FFFF00006500000A:9C4E 01 0
`;
  t.same(parseEstablished(tcp6, new Set([3260])), ['::1', '10.0.0.101']);
  t.equal(plainAddress('[::ffff:10.0.0.1]'), '10.0.0.1');
  t.same(halfLogins(countEach(['a', 'a', 'b']), countEach(['a', 'b'])), ['a']);
});
