import { chmodSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { connect as connectTls } from 'node:tls';
import { type Test, test } from 'tap';
import { writeTokenFile } from '../../src/api/token-file.js';
import { systemTimers } from '../../src/store/timers.js';
import { attackGroups } from './attack-list.js';
import { openRemote, rawTls } from './remote-stage.js';

for (const [group, attacks] of Object.entries(attackGroups)) {
  test(`refused: ${group}`, async (t) => {
    const remote = await openRemote(t);
    const before = JSON.stringify((await remote.store.list('')).entries);
    let last = remote;
    for (const [index, [what, how, status, code]] of attacks.entries()) {
      // After ten wrong tokens nobody would be heard any more: that is an attack of its own.
      if (index > 0 && index % 8 === 0 && group === 'withoutRight') last = await openRemote(t);
      const { path, ...ask } = how(last);
      const answer = await last.ask(path, ask);
      t.strictSame([answer.status, answer.code], [status, code], what);
      t.notMatch(answer.text, new RegExp(last.admin.slice(18)), 'no secret in it');
    }
    t.equal(JSON.stringify((await remote.store.list('')).entries), before, 'nothing has changed');
  });
}

test('refused: who was let in before, once the file has changed', async (t) => {
  const { ask, read, admin, tokens, entries } = await openRemote(t);
  t.equal((await ask('/', { token: read })).status, 200);
  writeTokenFile(
    tokens,
    entries.filter(({ name }) => name !== 'read'),
  );
  t.equal((await ask('/', { token: read })).code, 'US_API_TOKEN', 'a token that was removed');
  t.equal((await ask('/', { token: admin })).status, 200);
  chmodSync(tokens, 0o644);
  t.equal((await ask('/', { token: admin })).code, 'US_API_TOKENS', 'a file that others can read');
  chmodSync(tokens, 0o600);
  t.equal((await ask('/', { token: admin })).status, 200);
  writeFileSync(tokens, '{"tokens":[{"name":"x","role":"admin","hash":""}]}');
  t.equal((await ask('/', { token: admin })).code, 'US_API_TOKENS', 'a file that is broken');
  writeFileSync(tokens, `{"tokens":[${' '.repeat(2_000_000)}]}`);
  t.equal((await ask('/', { token: admin })).code, 'US_API_TOKENS', 'a file without end');
});

/** However slow the machine is, nobody wins back the right to ask meanwhile. */
const noTimePasses = () => systemTimers(() => 0);

test('refused: guessing. Who was known gets in all the same, also from there', async (t) => {
  const { ask, read } = await openRemote(t, { timers: noTimePasses() });
  t.equal((await ask('/', { token: read })).status, 200);
  const guess = (index: number) =>
    ask('/', {
      token: `us1.${index.toString(16).padStart(12, '0')}.${'A'.repeat(43)}`,
      headers: { 'x-forwarded-for': `10.0.0.${index}` },
    });
  const codes: string[] = [];
  for (let index = 0; index < 14; index++) codes.push((await guess(index)).code);
  t.equal(codes.filter((code) => code === 'US_API_TOKEN').length, 10);
  t.strictSame(
    codes.slice(10),
    Array(4).fill('US_API_BUSY'),
    'X-Forwarded-For is nobody’s address',
  );
  t.equal((await ask('/', { token: read })).status, 200);
});

test('refused: many requests and many changes in a short time', async (t) => {
  const { ask, read, operate } = await openRemote(t, { timers: noTimePasses() });
  const change = () => ask('/v1/undrain', { method: 'POST', token: operate, body: { host: 'h1' } });
  const changes = await Promise.all(Array.from({ length: 15 }, change));
  t.ok(changes.filter(({ code }) => code === 'US_API_BUSY').length >= 4, 'changes');
  const first = changes.find(({ code }) => code === 'US_API_BUSY');
  t.match([first?.status, first?.headers['retry-after']], [429, '6']);
  let refused = 0;
  for (let round = 0; round < 10; round++) {
    const answers = await Promise.all(Array.from({ length: 12 }, () => ask('/', { token: read })));
    refused += answers.filter(({ code }) => code === 'US_API_BUSY').length;
  }
  t.ok(refused > 0, `${refused} of 120`);
});

/** Bytes on a connection of their own; what comes back until its end, which has to come. */
const raw: readonly (readonly [what: string, text: string, answer: RegExp])[] = [
  [
    'two lengths',
    'POST /v1/move HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n',
    /^HTTP\/1\.1 4\d\d/,
  ],
  [
    'a length that is none',
    'POST /v1/move HTTP/1.1\r\nHost: x\r\nContent-Length: -5\r\n\r\n',
    /^HTTP\/1\.1 400/,
  ],
  ['no HTTP', 'hello\r\n\r\n', /^HTTP\/1\.1 400/],
  ['another HTTP', 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n', /^(?:HTTP\/1\.1 4\d\d|$)/],
  [
    'a header without a name',
    'GET / HTTP/1.1\r\nHost: x\r\n: y\r\nConnection: close\r\n\r\n',
    /^HTTP\/1\.1 400/,
  ],
  [
    'headers without end',
    `GET / HTTP/1.1\r\nHost: x\r\nX: ${'y'.repeat(100_000)}\r\n\r\n`,
    /^HTTP\/1\.1 431/,
  ],
  ['a tunnel', 'CONNECT 10.66.0.1:2379 HTTP/1.1\r\nHost: x\r\n\r\n', /^(?:HTTP\/1\.1 4\d\d|$)/],
  ['a mirror', 'TRACE / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n', /^HTTP\/1\.1 4\d\d/],
  [
    'another protocol on top',
    'GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade, close\r\nUpgrade: websocket\r\n\r\n',
    /^HTTP\/1\.1 401/,
  ],
];

test('refused: what is no request', async (t) => {
  const { port } = await openRemote(t, { slowestRequestMs: 1_000 });
  for (const [what, text, expected] of raw) {
    const { socket, answer } = await rawTls(port);
    socket.write(text);
    t.match(await answer, expected, what);
  }
});

function closed(t: Test, port: number, text: string): Promise<string> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1', () => socket.write(text));
    let answer = '';
    socket.setEncoding('latin1').on('data', (part: string) => {
      answer += part;
    });
    socket.on('error', () => {});
    socket.on('close', () => resolve(answer));
    t.teardown(() => socket.destroy());
  });
}

test('refused: what is no TLS of today', async (t) => {
  const { port } = await openRemote(t, { slowestRequestMs: 500 });
  t.notMatch(
    await closed(t, port, 'GET / HTTP/1.1\r\nHost: x\r\n\r\n'),
    /HTTP\/1\.1 200/,
    'no TLS',
  );
  t.notMatch(await closed(t, port, '\x16\x03\x01\xff\xff'.repeat(100)), /HTTP/, 'garbage');
  const old = await new Promise<string>((resolve) => {
    const socket = connectTls(
      { port, host: '127.0.0.1', rejectUnauthorized: false, maxVersion: 'TLSv1.2' },
      () => resolve('let in'),
    );
    socket.on('error', (error: NodeJS.ErrnoException) => resolve(error.code ?? error.message));
  });
  t.match(old, /ALERT_PROTOCOL_VERSION/);
});

test('refused: whoever keeps a connection and says little', async (t) => {
  const { port, admin } = await openRemote(t, { slowestRequestMs: 500 });
  const startMs = performance.now();
  const drip = async (head: string, part: string) => {
    const { socket, answer } = await rawTls(port);
    socket.write(head);
    const timer = setInterval(() => socket.write(part), 50);
    t.teardown(() => clearInterval(timer));
    return (await answer).slice(0, 12);
  };
  const authorization = `Authorization: Bearer ${admin}`;
  const answers = await Promise.all([
    closed(t, port, ''),
    drip('', ''),
    drip('GET / HTTP/1.1\r\nHost: x\r\n', 'X: y\r\n'),
    drip(
      `POST /v1/move HTTP/1.1\r\nHost: x\r\n${authorization}\r\nContent-Type: application/json\r\nContent-Length: 4000\r\n\r\n`,
      ' ',
    ),
    drip(
      `POST /v1/move HTTP/1.1\r\nHost: x\r\n${authorization}\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n`,
      '1\r\n \r\n',
    ),
  ]);
  const tookMs = performance.now() - startMs;
  t.ok(tookMs < 4_000, `each was closed, the last after ${tookMs.toFixed(0)} ms`);
  const said = ['a connection', 'a TLS session', 'headers', 'a body', 'a body in pieces'];
  for (const [index, what] of said.entries())
    t.match(answers[index], /^(?:HTTP\/1\.1 408|$)/, what);
});

test('refused: one peer that takes every connection', async (t) => {
  const { port, ask, read } = await openRemote(t, { slowestRequestMs: 2_000 });
  const sockets = Array.from({ length: 40 }, () => connect(port, '127.0.0.1'));
  const ends = sockets.map(
    (socket) =>
      new Promise<void>((resolve) => socket.on('error', () => {}).on('close', () => resolve())),
  );
  await Promise.all(ends.slice(16));
  t.equal(sockets.filter(({ destroyed }) => !destroyed).length, 16);
  for (const socket of sockets) socket.destroy();
  await Promise.all(ends);
  t.equal((await ask('/', { token: read })).status, 200, 'then others get in');
});
