import { test } from 'tap';
import { bootMs } from '../../src/ffi/clock.js';
import type { PulseRequest } from '../../src/pulse/protocol.js';
import { type Daemon, Farm } from './farm.js';

const leaseMs = 200;
const promiseMs = leaseMs * 1.01;
const timing = { leaseMs, clockMarginPercent: 1 };

test('three controllers and a host', async (t) => {
  const farm = new Farm();
  t.teardown(() => farm.close());
  const controllers = await Promise.all(
    [1, 2, 3].map((number) => farm.start(farm.peer(`c${number}`, number))),
  );
  const host = await farm.start(farm.peer('h', 9));
  const control = (daemon: Daemon): PulseRequest => ({
    kind: 'control',
    controller: daemon.peer.name,
    hosts: [host.peer],
    stopped: [],
    watched: [{ host: 'h', incarnation: 1 }],
    ...timing,
  });
  const enrol: PulseRequest = {
    kind: 'enrol',
    host: 'h',
    incarnation: 1,
    controllers: controllers.map(({ peer }) => peer),
    heartbeatMs: 50,
    enforce: true,
    guardMapPath: host.mapPath,
    ...timing,
  };
  for (const controller of controllers) await controller.order(control(controller));
  const beforeMs = bootMs();
  await host.order(enrol);
  const held = await host.next('lease-held');
  t.comment(`lease held ${(bootMs() - beforeMs).toFixed(1)} ms after enrol`);
  t.ok(held.deadlineMs > beforeMs && held.deadlineMs <= bootMs() + leaseMs, 'a lease ahead');
  t.ok(host.deadlineNs > 0n, 'the deadline is in the map');

  host.signal('SIGSTOP');
  for (const controller of controllers) {
    const lapsed = await controller.next('lapsed');
    t.equal(lapsed.host, 'h');
    t.equal(lapsed.incarnation, 1);
    t.ok((lapsed.lastAckAgoMs ?? 0) >= promiseMs, `${lapsed.lastAckAgoMs} ms after its last ack`);
    t.ok(Number(host.deadlineNs) / 1e6 < lapsed.atMs, 'the host had lapsed in the kernel before');
  }
  host.signal('SIGCONT');
  for (const controller of controllers) await controller.next('renewed');
  await host.next('lease-lapsed');
});
