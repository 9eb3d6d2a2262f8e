import { fork } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { connect } from 'node:net';
import { fileURLToPath } from 'node:url';
import { type Test, test } from 'tap';
import { askOnce, rawTls } from '../api/remote-stage.js';
import { enrol, everybodyPromised, roomy, settle, startCluster } from './cluster.js';

/** Serves until the test ends. */
async function startApi(t: Test) {
  const program = fileURLToPath(new URL('../api/remote-process.js', import.meta.url));
  const child = fork(program, { execArgv: [], env: { PATH: process.env.PATH } });
  t.teardown(async () => {
    const gone = once(child, 'exit');
    child.disconnect();
    await gone;
  });
  const [{ port, admin }] = (await once(child, 'message')) as [{ port: number; admin: string }];
  const rssBytes = () => {
    const status = readFileSync(`/proc/${child.pid}/status`, 'utf8');
    return Number(/VmRSS:\s+(\d+)/.exec(status)?.[1]) * 1_024;
  };
  return { port, admin, rssBytes };
}

const floodMs = 1_500;
/** Half a minute of it reaches the same as three seconds: what TLS and V8 keep for so many connections. */
const mostGrowthBytes = 256 * 1024 * 1024;

test('a flood of the API costs a bounded amount of memory, and no lease', async (t) => {
  const cluster = await startCluster(t);
  await settle(cluster, roomy);
  await everybodyPromised(cluster);
  const { host, controllers } = cluster;
  const { port, admin, rssBytes } = await startApi(t);
  const sent = { connections: 0, requests: 0 };
  const before = rssBytes();
  let most = before;
  const endMs = performance.now() + floodMs;
  const flood = async (kind: number) => {
    while (performance.now() < endMs) {
      if (kind === 0) {
        // Connections that say nothing.
        const socket = connect(port, '127.0.0.1');
        await new Promise((resolve) => socket.on('error', resolve).on('connect', resolve));
        socket.destroy();
        sent.connections += 1;
      } else if (kind === 1) {
        // A thousand requests at once on one connection, and guesses among them.
        const { socket, answer } = await rawTls(port);
        const wrong = `us1.${'0'.repeat(12)}.${'A'.repeat(43)}`;
        const one = `GET /v1/status HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${wrong}\r\n\r\n`;
        socket.end(one.repeat(1_000));
        await answer;
        sent.requests += 1_000;
      } else {
        // Bodies as large as they may be, and larger.
        const body = { file: '#'.repeat(kind * 1_000_000) };
        await askOnce(port, '/v1/plan', { method: 'POST', token: admin, body }).catch(() => {});
        sent.requests += 1;
      }
      most = Math.max(most, rssBytes());
    }
  };
  await Promise.all([0, 0, 1, 1, 1, 2, 3].map(flood));
  t.comment(JSON.stringify({ ...sent, grownMiB: Math.round((most - before) / 2 ** 20) }));
  t.ok(sent.connections > 50 && sent.requests > 1_000);
  t.ok(most - before < mostGrowthBytes, `${most - before} bytes more`);
  t.same(host.heard('lease-lapsed'), [], 'the lease was held throughout');
  for (const controller of controllers) t.same(controller.heard('lapsed'), []);
  t.equal((await host.status()).held, true);
  await host.order(
    enrol(
      host,
      controllers.map(({ peer }) => peer),
      roomy,
    ),
  );
});
