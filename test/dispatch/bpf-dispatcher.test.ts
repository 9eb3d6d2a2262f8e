import { test } from 'tap';
import { chooser } from '../../src/dispatch/choose.js';
import { emptyLayout } from '../../src/dispatch/layout.js';
import { openLeaseMap } from '../../src/fencing/lease-map.js';
import { checksumErrors, noLimit, service, stage, vip4, vip6 } from './stage.js';

test('every client reaches the member that was chosen for it, near or far, IPv4 or IPv6', async (t) => {
  const { far, near, members, lease, newDispatcher, answer, guard } = await stage(t);
  lease.raise(noLimit);
  const dispatcher = await newDispatcher();
  const spec = service();
  const chosen = chooser(spec);
  await dispatcher.ensure(spec);
  answer();
  const seen = new Set<string>();
  for (const client of [far, near]) {
    for (const address of [vip4, vip6]) {
      for (const protocol of ['tcp', 'udp'] as const) {
        const asks = Array.from({ length: 12 }, (_, at) => ({
          protocol,
          address,
          port: 41_000 + at,
        }));
        const answers = await Promise.all(asks.map((ask) => client.ask(ask)));
        const wanted = asks.map((ask) => `${chosen(client.flow(ask))?.member} 0`);
        t.same(answers, wanted, `${client === far ? 'far' : 'near'} ${protocol} ${address}`);
        for (const text of answers) seen.add(text);
      }
      const big = { address, port: 42_000, bytes: 3_000_000 };
      t.equal(await client.ask(big), `${chosen(client.flow(big))?.member} 3000000`, 'batches too');
      const inParts = { protocol: 'udp', address, port: 42_001, bytes: 8_000 } as const;
      const byAddress = chosen({ ...client.flow(inParts), fragment: true });
      t.equal(
        await client.ask(inParts),
        `${byAddress?.member} 8000`,
        'all fragments at one member',
      );
    }
  }
  t.equal(seen.size, 3, 'every member is used');
  t.same(await Promise.all(members.map(checksumErrors)), [0, 0, 0], 'no bad checksums');
  t.equal(await far.at.pings(vip4), 3, 'the dispatcher answers echo itself');
  const { forwarded, dropped } = await dispatcher.counters('web');
  t.ok(forwarded.every(({ packets, bytes }) => packets > 0 && bytes > packets * 54));
  t.same(
    Object.values(dropped).filter((count) => count > 0),
    [],
    'nothing was dropped',
  );
  t.ok(guard.counters(1).outPassed > 0, 'what is sent on passes the guard');
});

test('behind its guard the dispatcher is silent until the lease is held', async (t) => {
  const { far, dispatching, lease, newDispatcher, answer } = await stage(t);
  const dispatcher = await newDispatcher();
  await dispatcher.warm(service().incarnation);
  t.same({ ...dispatcher.layout, births: 0 }, emptyLayout, 'being ready for a service is none yet');
  await dispatcher.ensure(service());
  answer();
  t.equal(await far.at.pings(vip4), 0, 'none held yet');
  lease.raise(noLimit);
  far.at.ip(`neigh flush dev eth0`);
  t.match(await far.ask({ port: 43_000 }), /^web\d 0$/);
  t.match(
    dispatching.tc('filter show dev eth0 ingress'),
    /pref 1 bpf[\s\S]*us_guard_in[\s\S]*pref 2 bpf[\s\S]*us_dispatch/,
  );
});

test('changes and an agent’s restart lose no connection; counters go on', async (t) => {
  const { far, dispatching, lease, newDispatcher, answer } = await stage(t);
  lease.raise(noLimit);
  const first = await newDispatcher();
  const spec = service();
  await first.ensure(spec);
  answer();
  const programs = () =>
    dispatching.tc('filter show dev eth0 ingress').match(/us_dispatch:\[\d+\]/g);
  const before = programs();
  t.equal(before?.length, 1);

  // The same table with another port open: no flow moves.
  const wider = service({ ports: [...spec.ports, { protocol: 'tcp', first: 8000, last: 8999 }] });
  let flipping = true;
  const flips = (async () => {
    for (let turn = 0; flipping; turn += 1) await first.ensure(turn % 2 === 0 ? wider : spec);
  })();
  const chosen = chooser(spec);
  for (let port = 44_000; port < 44_100; port += 1) {
    const said = await far.ask({ port });
    const member = chosen(far.flow({ port }))?.member;
    if (said !== `${member} 0`) t.fail(`${port}: ${said}, not ${member}`);
  }
  flipping = false;
  await flips;
  await first.ensure(spec);
  t.same(programs(), before, 'never taken off');

  const counted = await first.counters('web');
  await first.stop();
  t.match(await far.ask({ port: 45_000 }), /^web\d 0$/, 'with nobody there');
  const second = await newDispatcher();
  await t.rejects(second.counters('web'), { code: 'US_DISPATCH_NOT_HERE' });
  await second.ensure(spec);
  t.same(programs(), before, 'adopted');
  const total = (counters: typeof counted) =>
    counters.forwarded.reduce((sum, { packets }) => sum + packets, 0);
  t.ok(total(await second.counters('web')) > total(counted));

  const down = service({
    members: spec.members.map((member, at) => ({ ...member, healthy: at === 2 })),
  });
  await second.ensure(down);
  for (const port of [46_000, 46_001, 46_002]) t.equal(await far.ask({ port }), 'web3 0');

  await second.remove('web');
  t.equal(programs(), null);
  await second.remove('web');
});

test('a new incarnation takes over the tables under its own lease', async (t) => {
  const { far, guard, dispatching, lease, newDispatcher, answer } = await stage(t);
  lease.raise(noLimit);
  const dispatcher = await newDispatcher();
  await dispatcher.ensure(service());
  answer();
  t.match(await far.ask({ port: 47_000 }), /^web\d 0$/);
  await t.rejects(dispatcher.ensure(service({ incarnation: 2 })), { code: 'US_GUARD_NO_LEASE' });
  t.match(await far.ask({ port: 47_001 }), /^web\d 0$/, 'as before');
  const next = openLeaseMap(guard.prepare(2));
  t.teardown(() => next.close());
  guard.attach(dispatching.path, 'eth0', 2);
  await dispatcher.ensure(service({ incarnation: 2 }));
  t.equal(await far.at.pings(vip4), 0, 'not held');
  next.raise(noLimit);
  t.match(await far.ask({ port: 47_002 }), /^web\d 0$/);
});

test('a service whose namespace is gone goes from the tables with the next change', async (t) => {
  const { newDispatcher } = await stage(t);
  const first = await newDispatcher();
  // Its namespace is not there: the tables are made, the program finds no NIC.
  const gone = { service: 'gone', namespace: 'svc-gone', mac: '02:00:00:00:ff:77' };
  await t.rejects(first.ensure(service(gone)), { code: 'US_BPF_ATTACH' });
  t.same([...first.layout.services.keys()], ['gone']);
  await first.stop();
  const second = await newDispatcher();
  await second.ensure(service());
  t.same([...second.layout.services.keys()], ['web']);
});
