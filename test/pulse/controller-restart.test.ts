import { test } from 'tap';
import { bootMs } from '../../src/ffi/clock.js';
import { control, leaseMs, promiseMs, roomy, settle, startCluster } from './cluster.js';

test('a controller that restarted acks nothing before it is told the votes', async (t) => {
  const cluster = await startCluster(t);
  const { controllers, host } = cluster;
  // So far apart that no second heartbeat comes before the first one's challenge is echoed.
  await settle(cluster, roomy, 250);
  const [c1] = controllers;
  const first = c1.client.hello;
  const hello = await c1.restart();
  t.not(hello.nonce, first?.nonce, 'a start nonce of its own');
  t.equal(hello.controlling, false);
  const early = await c1.client.request({ kind: 'stop-acks', host: 'h', incarnation: 1 });
  t.match(early, { kind: 'error', code: 'US_PULSE_NOT_CONTROLLING' });
  let counters = (await c1.status()).counters;
  while ((counters['not-controlling'] ?? 0) < 2) counters = (await c1.status()).counters;
  t.equal(counters.promised, undefined);
  t.equal(counters.challenged, undefined);
  t.same(host.heard('lease-lapsed'), [], 'the other two carry the lease');

  await c1.order(control(c1, [host.peer], roomy));
  while (((await c1.status()).counters.promised ?? 0) === 0);
  t.equal((await c1.status()).counters.challenged, 1, 'one challenge, echoed at once');
  t.same(c1.heard('lapsed'), []);
});

test('a host that died while its controller restarted', async (t) => {
  const cluster = await startCluster(t);
  const { controllers, host } = cluster;
  await settle(cluster);
  const [c1] = controllers;
  await host.crash();
  const { startedAtMs } = await c1.restart();
  c1.forget();
  const toldMs = bootMs();
  await c1.order(control(c1, [host.peer]));
  const inForce = c1.order({ kind: 'stop-acks', host: 'h', incarnation: 7 });
  const lapsed = await c1.next('lapsed');
  t.match(lapsed, { host: 'h', incarnation: 1, lastAckAgoMs: null });
  t.ok(lapsed.atMs >= startedAtMs + promiseMs, 'not before promises of the process before ended');
  t.ok(lapsed.atMs < bootMs() + 1 && lapsed.atMs >= toldMs + leaseMs);
  await inForce;
  t.ok(bootMs() >= startedAtMs + promiseMs);
});

test('what was stopped before the restart stays stopped', async (t) => {
  const cluster = await startCluster(t);
  const { controllers, host } = cluster;
  await settle(cluster, roomy);
  const [c1] = controllers;
  await c1.restart();
  const stopped = [{ host: 'h', incarnation: 1 }];
  await c1.order(control(c1, [host.peer], { ...roomy, stopped }));
  let counters = (await c1.status()).counters;
  while ((counters['refused-stopped'] ?? 0) < 2) counters = (await c1.status()).counters;
  t.equal(counters.promised, undefined);
  await c1.order(control(c1, [host.peer], roomy));
  t.same(await c1.client.request({ kind: 'hello' }), {
    ...c1.client.hello,
    controlling: true,
    stopped,
  });
});
