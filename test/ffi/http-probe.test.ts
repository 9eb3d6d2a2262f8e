import { once } from 'node:events';
import { createServer } from 'node:http';
import { type AddressInfo, createServer as createTcpServer } from 'node:net';
import { type Test, test } from 'tap';
import { answersHttp } from '../../src/ffi/http-probe.js';
import { acceptsTcp } from '../../src/ffi/tcp-probe.js';

const here = '/proc/self/ns/net';
const address = Uint8Array.of(127, 0, 0, 1);
const patientMs = 5_000;

async function portOf(t: Test, server: ReturnType<typeof createTcpServer>): Promise<number> {
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.teardown(() => server.close());
  return (server.address() as AddressInfo).port;
}

test('a status of 200 to 399 is an answer, and the path and host are what was asked for', async (t) => {
  const asked: string[] = [];
  const server = createServer((request, response) => {
    asked.push(`${request.method} ${request.url} ${request.headers.host}`);
    response.writeHead(Number(request.url?.slice(1)));
    response.end('body');
  });
  const port = await portOf(t, server);
  for (const [status, good] of [
    [200, true],
    [204, true],
    [302, true],
    [404, false],
    [503, false],
  ] as const) {
    const request = { path: `/${status}`, host: '[fd00::1]' };
    t.equal(await answersHttp(here, address, port, request, patientMs), good, `${status}`);
  }
  t.equal(asked[0], 'GET /200 [fd00::1]');
  t.equal(await acceptsTcp(here, address, port, patientMs), true);
});

test('what is no HTTP, hangs up, says too much or says nothing is no answer', async (t) => {
  const request = { path: '/', host: 'x' };
  const answers: readonly (readonly [string, string | undefined])[] = [
    ['another protocol', 'SSH-2.0-OpenSSH_9.2\r\n'],
    ['a status line cut short', 'HTTP/1.1 200'],
    ['no end of the line', 'HTTP/1.1 200 '.padEnd(20_000, 'x')],
    ['nothing', ''],
    ['silence', undefined],
  ];
  for (const [what, answer] of answers) {
    const server = createTcpServer((socket) => {
      socket.on('error', () => {});
      if (answer === undefined) socket.resume();
      else socket.end(answer);
    });
    const port = await portOf(t, server);
    const timeoutMs = answer === undefined ? 50 : patientMs;
    t.equal(await answersHttp(here, address, port, request, timeoutMs), false, what);
  }
  const gone = createTcpServer();
  const port = await portOf(t, gone);
  gone.close();
  t.equal(await answersHttp(here, address, port, request, patientMs), false, 'nobody listens');
});
