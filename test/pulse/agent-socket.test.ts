import { once } from 'node:events';
import { statSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { createInterface } from 'node:readline';
import { test } from 'tap';
import type { PulseMessageToAgent, PulseRequest } from '../../src/pulse/protocol.js';
import { control, enrol } from './cluster.js';
import { Farm } from './farm.js';

/** Somebody at the socket who need not be polite. */
async function visitor(path: string) {
  const socket: Socket = connect(path);
  await once(socket, 'connect');
  const lines = createInterface({ input: socket })[Symbol.asyncIterator]();
  const next = async () => JSON.parse((await lines.next()).value ?? 'null') as PulseMessageToAgent;
  const ask = async (id: number, request: PulseRequest) => {
    socket.write(`${JSON.stringify({ id, request })}\n`);
    return await next();
  };
  return { socket, next, ask };
}

/** once() would fail on the error that may come first. */
function closing(socket: Socket): Promise<void> {
  socket.on('error', () => {});
  return new Promise((resolve) => socket.on('close', () => resolve()));
}

test('the agent socket', async (t) => {
  const farm = new Farm();
  t.teardown(() => farm.close());
  const daemon = await farm.start(farm.peer('c1', 1));
  t.equal(statSync(daemon.socket).mode & 0o777, 0o600, 'for its owner only');

  const guest = await visitor(daemon.socket);
  t.teardown(() => guest.socket.destroy());
  t.match(await guest.ask(4, { kind: 'status' }), { id: 4, reply: { kind: 'status', hosts: [] } });
  for (const request of [
    { kind: 'hello' },
    { kind: 'retire' },
    control(daemon, []),
  ] as PulseRequest[]) {
    const busy = { id: 5, reply: { kind: 'error', code: 'US_PULSE_BUSY' } };
    t.match(await guest.ask(5, request), busy, `${request.kind} is the agent's`);
  }

  const broken = { kind: 'error', code: 'US_PULSE_REQUEST' };
  for (const [line, id] of [
    ['this is not JSON', 0],
    ['{"id":-1}', 0],
    ['{"id":7,"request":{"kind":"explode"}}', 7],
    ['{"id":8,"request":{"kind":"status","more":1}}', 8],
    ['{"id":9,"request":{"kind":"stop-acks","host":"../x","incarnation":0}}', 9],
    ['null', 0],
  ] as const) {
    guest.socket.write(`${line}\n`);
    t.match(await guest.next(), { id, reply: broken }, line);
  }
  t.match(await guest.ask(6, { kind: 'status' }), { reply: { kind: 'status' } }, 'still served');

  const endless = await visitor(daemon.socket);
  const closed = closing(endless.socket);
  endless.socket.write(Buffer.alloc(5 * 1024 * 1024, 'x'));
  await closed;
  t.pass('a line without end is cut off');

  const deaf = connect(daemon.socket);
  await once(deaf, 'connect');
  const gone = closing(deaf);
  const line = `${JSON.stringify({ id: 1, request: { kind: 'status' } })}\n`;
  deaf.pause();
  const pour = () => {
    while (!deaf.destroyed && deaf.write(line.repeat(200)));
  };
  deaf.on('drain', pour);
  pour();
  await gone;
  t.match((await daemon.status()).counters, { 'slow-reader-dropped': 1, 'line-too-long': 1 });
  t.match(await guest.ask(6, { kind: 'status' }), { reply: { kind: 'status' } }, 'others stay');

  const crowd = await Promise.all(
    Array.from({ length: 20 }, async () => {
      const one = connect(daemon.socket);
      one.on('error', () => {});
      await once(one, 'connect');
      return one;
    }),
  );
  while (((await daemon.status()).counters['client-refused'] ?? 0) < 6);
  for (const one of crowd) one.destroy();
  t.pass('visitors are bounded');
});

test('what may be enrolled', async (t) => {
  const farm = new Farm();
  t.teardown(() => farm.close());
  const host = await farm.start(farm.peer('h', 1));
  const peers = [farm.peer('c1', 2)];
  const ask = async (more: Parameters<typeof enrol>[2]) => {
    const reply = await host.client.request(enrol(host, peers, more));
    return reply.kind === 'error' ? reply.code : reply.kind;
  };
  const other = `${host.mapPath}.other`;
  t.equal(await ask({ guardMapPath: '/nowhere/at/all' }), 'US_PULSE_GUARD_MAP');
  t.equal(await ask({ incarnation: 2 }), 'ok');
  t.equal(await ask({ incarnation: 2, heartbeatMs: 40 }), 'ok', 'changed timing');
  t.equal(await ask({ incarnation: 1, guardMapPath: other }), 'US_PULSE_OLD_INCARNATION');
  t.equal(await ask({ incarnation: 3 }), 'US_PULSE_MAP_SHARED');
  t.equal(await ask({ incarnation: 3, enforce: false, guardMapPath: other }), 'ok');
  t.equal(await ask({ incarnation: 3, guardMapPath: other }), 'US_PULSE_MAP_UNLIMITED');
  const next = `${host.mapPath}.next`;
  t.equal(await ask({ incarnation: 4, guardMapPath: next }), 'US_PULSE_LEASE_RUNNING');
  await host.order({ kind: 'retire' });
  t.equal(await ask({ incarnation: 4, guardMapPath: next }), 'ok');
  const twice = [...peers, ...peers];
  const sets = [['c1', 'c1', 'c2']];
  t.match(await ask({ electorate: { set: 1, sets } }), /US_PULSE_REQUEST/, 'who counts twice');
  const doubled = await host.client.request(enrol(host, twice, { incarnation: 4 }));
  t.match(doubled, { kind: 'error', code: 'US_PULSE_REQUEST' });
});

test('a second pulse of the same host is refused', async (t) => {
  const farm = new Farm();
  t.teardown(() => farm.close());
  const { PulseClient } = await import('../../src/pulse/client.js');
  const { Pulse } = await import('../../src/pulse/pulse.js');
  const { ClusterKeys } = await import('../../src/pulse/keys.js');
  const { thisMachine } = await import('../../src/pulse/machine.js');
  const first = await farm.start(farm.peer('h', 1));
  const start = (address: string) =>
    new Pulse({
      machine: thisMachine(
        { bind: address, port: 7411, keyFile: '', socket: first.socket, realtime: false },
        new ClusterKeys(() => [Buffer.alloc(32)]),
      ),
      loadLeaseMaps: async () => {
        throw new Error('not needed');
      },
      log: () => {},
    }).start();
  await t.rejects(start(first.peer.address), { code: 'US_PULSE_RUNNING' });
  await t.rejects(start(farm.peer('h', 2).address), { code: 'US_PULSE_RUNNING' });
  await t.rejects(start('192.0.2.1'), { code: 'US_PULSE_BIND' });
  t.equal((await first.status()).kind, 'status', 'and the first is not disturbed');

  const away = new PulseClient({ path: `${first.socket}.none` });
  await t.rejects(away.request({ kind: 'status' }), { code: 'US_PULSE_AWAY' });
});
