import { once } from 'node:events';
import { createServer } from 'node:http';
import { type AddressInfo, createServer as createTcpServer } from 'node:net';
import { type Test, test } from 'tap';
import { refusesHttp } from '../../src/ffi/http-probe.js';
import { refusesTcp } from '../../src/ffi/tcp-probe.js';

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
  for (const [status, refused] of [
    [200, undefined],
    [204, undefined],
    [302, undefined],
    [404, 'HTTP status 404'],
    [503, 'HTTP status 503'],
  ] as const) {
    const request = { path: `/${status}`, host: '[fd00::1]' };
    t.equal(await refusesHttp(here, address, port, request, patientMs), refused, `${status}`);
  }
  t.equal(asked[0], 'GET /200 [fd00::1]');
  t.equal(await refusesTcp(here, address, port, patientMs), undefined);
});

test('what is no HTTP, hangs up, says too much or says nothing is no answer', async (t) => {
  const request = { path: '/', host: 'x' };
  const hungUp = 'HTTP: the connection ended before an answer';
  const noHttp = 'HTTP: the answer is no HTTP';
  const answers: readonly (readonly [string, string | undefined, string])[] = [
    ['another protocol', 'SSH-2.0-OpenSSH_9.2\r\n', noHttp],
    ['a status line cut short', 'HTTP/1.1 200', hungUp],
    ['no end of the line', 'HTTP/1.1 200 '.padEnd(20_000, 'x'), noHttp],
    ['nothing', '', hungUp],
    ['silence', undefined, 'HTTP: no answer in time'],
  ];
  for (const [what, answer, refused] of answers) {
    const server = createTcpServer((socket) => {
      socket.on('error', () => {});
      if (answer === undefined) socket.resume();
      else socket.end(answer);
    });
    const port = await portOf(t, server);
    const timeoutMs = answer === undefined ? 50 : patientMs;
    t.equal(await refusesHttp(here, address, port, request, timeoutMs), refused, what);
  }
  const gone = createTcpServer();
  const port = await portOf(t, gone);
  gone.close();
  const nobody = 'connect: ECONNREFUSED';
  t.equal(await refusesHttp(here, address, port, request, patientMs), nobody);
  t.equal(await refusesTcp(here, address, port, patientMs), nobody);
});
