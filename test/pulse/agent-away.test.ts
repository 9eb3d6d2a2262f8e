import { test } from 'tap';
import { bootMs } from '../../src/ffi/clock.js';
import { PulseClient } from '../../src/pulse/client.js';
import type { PulseReply } from '../../src/pulse/protocol.js';
import { everybodyPromised, roomy, settle, startCluster } from './cluster.js';
import type { Daemon } from './farm.js';

const carries = (roles: readonly string[]) => ({ kind: 'carries', incarnation: 1, roles }) as const;
const mapMs = (host: Daemon) => Number(host.deadlineNs) / 1e6;

/** An agent that comes instead of the one before. */
async function comes(host: Daemon): Promise<{
  readonly client: PulseClient;
  readonly hello: Extract<PulseReply, { kind: 'hello' }>;
}> {
  const client = new PulseClient({ path: host.socket, lastPauseMs: 50 });
  const hello = new Promise<Extract<PulseReply, { kind: 'hello' }>>((resolve) =>
    client.onConnect(resolve),
  );
  client.start(new AbortController().signal);
  return { client, hello: await hello };
}

test('a host without an agent keeps its lease for what it carries, and for nothing', async (t) => {
  const cluster = await startCluster(t);
  const { controllers, host } = cluster;
  await settle(cluster, roomy);
  await everybodyPromised(cluster);
  await host.order(carries(['personality/web1@1']));
  const leftMs = bootMs();
  host.client.stop();
  for (const controller of controllers) {
    const ails = await controller.next('ails');
    t.match(ails, { host: 'h', incarnation: 1, agentAway: true, dark: false });
  }
  t.ok(bootMs() - leftMs > 4_900, 'longer than a restart takes');
  t.ok(mapMs(host) > bootMs(), 'what runs there goes on');
  t.same(
    controllers.flatMap((controller) => controller.heard('lapsed')),
    [],
  );

  const next = await comes(host);
  t.same(next.hello.carried, ['personality/web1@1'], 'pulse remembers it');
  t.match(await next.client.request(carries([])), { kind: 'ok' });
  const lapses = await Promise.all(controllers.map((controller) => controller.next('lapsed')));
  for (const { atMs } of lapses) t.ok(mapMs(host) < atMs, 'it let the lease run out');

  const speaking = setInterval(() => void next.client.request(carries([])), 500);
  t.teardown(() => {
    clearInterval(speaking);
    next.client.stop();
  });
  for (const controller of controllers) await controller.next('renewed');
  t.pass('an agent that stays has it ask again');
});
