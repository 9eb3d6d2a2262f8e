import { test } from 'tap';
import { bootMs } from '../../src/ffi/clock.js';
import {
  enrol,
  everybodyPromised,
  leaseMs,
  promiseMs,
  roomy,
  settle,
  startCluster,
} from './cluster.js';
import type { Daemon } from './farm.js';

const mapMs = (host: Daemon) => Number(host.deadlineNs) / 1e6;

test('a lease is held at once, and lapses first at the host', async (t) => {
  const cluster = await startCluster(t);
  const { controllers, host } = cluster;
  const beforeMs = bootMs();
  await settle(cluster);
  const [held] = host.heard('lease-held');
  const tookMs = bootMs() - beforeMs;
  t.ok(tookMs < leaseMs, `held ${tookMs.toFixed(1)} ms after the first order`);
  t.ok((held?.deadlineMs ?? 0) > beforeMs && (held?.deadlineMs ?? 0) <= bootMs() + leaseMs);
  await everybodyPromised(cluster);
  const { deadlineMs } = await host.status();
  t.ok((deadlineMs ?? 0) <= mapMs(host), 'status tells what the map says');

  host.signal('SIGSTOP');
  for (const controller of controllers) {
    const lapsed = await controller.next('lapsed');
    t.match(lapsed, { host: 'h', incarnation: 1 });
    t.ok((lapsed.lastAckAgoMs ?? 0) >= promiseMs, `${lapsed.lastAckAgoMs} ms after its last ack`);
    t.ok(mapMs(host) < lapsed.atMs, `the kernel stopped it ${lapsed.atMs - mapMs(host)} ms before`);
  }
  const again = controllers[0].heard('lapsed').length;
  await controllers[0].nth('lapsed', again + 1);
  t.pass('the report is repeated');

  host.signal('SIGCONT');
  for (const controller of controllers) await controller.next('renewed');
  await host.next('lease-lapsed');
  await host.nth('lease-held', 2);
  t.ok(mapMs(host) > bootMs() - leaseMs, 'held again');

  const deadlineAtDeath = host.crash().then(() => mapMs(host));
  for (const controller of controllers) controller.forget();
  for (const controller of controllers) {
    const lapsed = await controller.next('lapsed');
    t.ok(lapsed.atMs > (await deadlineAtDeath), 'a killed pulse: the kernel was earlier too');
  }
});

test('a pulse that restarts under a living agent', async (t) => {
  const cluster = await startCluster(t);
  const { controllers, host } = cluster;
  await settle(cluster);
  const atCrash = host.deadlineNs;
  const hello = await host.restart();
  t.equal(hello.enrolled, null);
  t.equal(hello.controlling, false);
  t.ok(host.deadlineNs >= atCrash, 'the deadline in the map stays');
  host.forget();
  await host.order(
    enrol(
      host,
      controllers.map(({ peer }) => peer),
    ),
  );
  const held = await host.next('lease-held');
  t.ok(held.deadlineMs > Number(atCrash) / 1e6);
  await host.order(
    enrol(
      host,
      controllers.map(({ peer }) => peer),
    ),
  );
  t.equal(host.heard('lease-held').length, 1, 'told the same again: nothing starts anew');
});

test('a majority that stops acking expels', async (t) => {
  const cluster = await startCluster(t);
  const { controllers, host } = cluster;
  await settle(cluster, roomy);
  const [c1, c2] = controllers;
  const stop = { kind: 'stop-acks', host: 'h', incarnation: 1 } as const;
  const refused = await c1.client.request({ ...stop, onlyIfLapsed: true });
  t.match(refused, { kind: 'error', code: 'US_PULSE_PROMISED' });
  const askedMs = bootMs();
  await c1.order(stop);
  const waitedMs = bootMs() - askedMs;
  t.ok(waitedMs > roomy.leaseMs / 2, `answered after ${waitedMs.toFixed(0)} ms: promises ran out`);
  t.same(host.heard('lease-lapsed'), [], 'two others carry the lease');
  t.match(await c1.client.request({ kind: 'hello' }), { stopped: [{ host: 'h', incarnation: 1 }] });
  await c2.order(stop);
  await host.next('lease-lapsed');
  await host.next('refused');
  t.ok(mapMs(host) < bootMs());

  await c1.order({ kind: 'resume-acks', host: 'h', incarnation: 1 });
  await host.nth('lease-held', 2);
  t.pass('after a withdrawn vote it holds again');
});
