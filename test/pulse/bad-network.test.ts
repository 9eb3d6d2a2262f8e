import { randomBytes } from 'node:crypto';
import { test } from 'tap';
import { control, enrol, everybodyPromised, promiseMs, startCluster } from './cluster.js';
import { Relay } from './relay.js';

test('a host that is heard but hears nothing lapses everywhere, and comes back', async (t) => {
  const { farm, controllers, host } = await startCluster(t);
  const toHost = new Relay(farm.peer('relay', 20), host.peer);
  const toControllers = controllers.map(
    ({ peer }, index) => new Relay(farm.peer('relay', 21 + index), peer),
  );
  const relays = [toHost, ...toControllers];
  await Promise.all(relays.map((relay) => relay.start()));
  t.teardown(() => relays.map((relay) => relay.close()));
  for (const controller of controllers) await controller.order(control(controller, [toHost.peer]));
  await host.order(
    enrol(
      host,
      toControllers.map(({ peer }) => peer),
    ),
  );
  await host.next('lease-held');
  await everybodyPromised({ controllers });

  toHost.cut = true;
  const passed = toControllers[0]?.passed ?? 0;
  const { atMs } = await host.next('lease-lapsed');
  for (const controller of controllers) {
    const lapsed = await controller.next('lapsed');
    t.ok((lapsed.lastAckAgoMs ?? 0) >= promiseMs);
    t.ok(lapsed.atMs > atMs, 'the host lapsed first');
  }
  t.ok((toControllers[0]?.passed ?? 0) > passed, 'although its heartbeats went on arriving');

  toHost.cut = false;
  for (const controller of controllers) await controller.next('renewed');

  // A stranger replays what it saw, and makes things up.
  const [c1] = controllers;
  await host.crash();
  c1.forget();
  // Not the lapse of before: with this one, what the relay still had of the host has arrived.
  await c1.next('lapsed');
  c1.forget();
  const relay = toControllers[0];
  const before = (await c1.status()).counters;
  for (const bytes of relay?.captured ?? []) relay?.send(bytes);
  for (let count = 0; count < 50; count++) relay?.send(randomBytes(80));
  const forged = Buffer.from(relay?.captured.at(-1) ?? []);
  forged[forged.length - 1] = (forged.at(-1) ?? 0) ^ 1;
  for (let count = 0; count < 50; count++) relay?.send(forged);
  const grown = (name: string, counters: Readonly<Record<string, number>>) =>
    (counters[name] ?? 0) - (before[name] ?? 0);
  let counters = (await c1.status()).counters;
  while (grown('forged', counters) < 50) counters = (await c1.status()).counters;
  t.equal(grown('heartbeat-not-newer', counters), relay?.captured.length, 'replays are counted');
  t.equal(grown('malformed', counters), 50);
  t.equal(grown('promised', counters), 0);
  t.same(c1.heard('renewed'), []);
});
