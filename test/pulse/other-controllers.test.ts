import { test } from 'tap';
import { control, enrol, everybodyPromised, roomy, settle, startCluster } from './cluster.js';

/** Two sets of c1..c3, the new one with a fourth in c1's stead. */
test('a host moves to other controllers without losing its lease', async (t) => {
  const cluster = await startCluster(t);
  const { farm, controllers, host } = cluster;
  await settle(cluster, roomy);
  await everybodyPromised(cluster);
  const [c1, c2, c3] = controllers;
  const c4 = await farm.start(farm.peer('c4', 4));
  const old = ['c1', 'c2', 'c3'];
  const next = ['c2', 'c3', 'c4'];
  const peers = [c1, c2, c3, c4].map(({ peer }) => peer);
  const joint = { electorate: { set: 1, sets: [old, next] } };

  for (const one of [c1, c2, c4]) {
    const sets = { lowest: 0, newest: 1 };
    await one.order(control(one, [host.peer], { ...roomy, sets }));
  }
  host.forget();
  await host.order(enrol(host, peers, { ...roomy, ...joint }));
  t.match(await host.next('lease-held'), { set: 1 }, 'by c1 and c2, and by c2 and c4');
  t.match((await c3.status()).counters['set-not-read'], Number, 'c3 has not read of it');
  t.notOk((await c3.status()).counters['set-refused']);
  t.match(await host.client.request({ kind: 'hello' }), { enrolled: { incarnation: 1, set: 1 } });

  await c3.order(control(c3, [host.peer], { ...roomy, sets: { lowest: 1, newest: 1 } }));
  await c3.order(control(c3, [host.peer], { ...roomy, sets: { lowest: 0, newest: 0 } }));
  host.forget();
  await host.order(enrol(host, peers.slice(0, 3), roomy));
  t.match(await host.next('lease-held'), { incarnation: 1 }, 'back: c1 and c2 do not refuse');
  t.match((await c3.status()).counters['set-refused'], Number, 'what c3 refused stays refused');

  for (const one of [c2, c3, c4]) {
    const sets = { lowest: 1, newest: 2 };
    await one.order(control(one, [host.peer], { ...roomy, sets }));
  }
  host.forget();
  const final = { electorate: { set: 2, sets: [next] } };
  await host.order(enrol(host, peers.slice(1), { ...roomy, ...final }));
  t.match(await host.next('lease-held'), { set: 2 });
  await c1.crash();
  await host.restart();
  host.forget();
  await host.order(enrol(host, peers.slice(1), { ...roomy, ...final }));
  t.match(await host.next('lease-held'), { set: 2 }, 'without c1');
  t.same(host.heard('lease-lapsed'), []);
});
