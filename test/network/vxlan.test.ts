import { test } from 'tap';
import { ipBytes, macText } from '../../src/network/addresses.js';
import type { NamespaceSpec } from '../../src/network/types.js';
import { Capture, insidePath, NetLab, nic, pings, RecordingGuard, vxlan } from './lab.js';

const signal = new AbortController().signal;

function role(name: string, epoch: number, nics: NamespaceSpec['nics']): NamespaceSpec {
  const more = { incarnation: 1, routes: [], loopbackAddresses: [] };
  return { name, cluster: 'test', epoch, nics, ...more };
}

test('personalities talk over vxlan, fail over, and outsiders get nothing', async (t) => {
  const lab = new NetLab('vx');
  t.teardown(() => lab.remove());
  const hosts = ['h1', 'h2', 'h3'] as const;
  for (const [index, host] of hosts.entries()) lab.addHost(host, index + 1);
  const [h1, h2, h3] = hosts.map((host) => lab.adapter(host));
  if (h1 === undefined || h2 === undefined || h3 === undefined) throw new Error('three hosts');
  t.teardown(async () => {
    for (const adapter of [h1, h2, h3]) await adapter.stop();
  });
  const web1 = nic('blue', 0x11, '10.10.0.11/24', 'fd00::11/64');
  const web2 = nic('blue', 0x12, '10.10.0.12/24', 'fd00::12/64');
  const red1 = nic('red', 0x21, '10.20.0.11/24');
  const via = (host: number) => `10.66.0.${host}`;

  for (const adapter of [h1, h2, h3]) await adapter.start(signal);
  await h1.ensureNetwork(vxlan('blue', 100, 1), signal);
  await h2.ensureNetwork(vxlan('blue', 100, 2), signal);
  await h3.ensureNetwork(vxlan('blue', 100, 3), signal);
  await h3.ensureNetwork(vxlan('red', 200, 3), signal);
  await h1.setPeers(
    {
      network: 'blue',
      unicast: [{ mac: web2.mac, via: via(2) }],
      flood: [via(2)],
      allowed: [via(2)],
    },
    signal,
  );
  await h2.setPeers(
    {
      network: 'blue',
      unicast: [{ mac: web1.mac, via: via(1) }],
      flood: [via(1)],
      allowed: [via(1)],
    },
    signal,
  );
  await h3.ensureNamespace(role('red1', 1, [red1]), signal);
  await h1.ensureNamespace(role('web1', 1, [web1]), signal);
  await h2.ensureNamespace(role('web2', 1, [web2]), signal);
  const web2Path = lab.rolePath('h2', 'web2');
  const outsider = new Capture(lab.rolePath('h3', 'red1'), 'eth0');
  const spare = new Capture(lab.networkPath('h3', 'blue'), 'carrier');
  t.teardown(() => {
    outsider.close();
    spare.close();
  });

  await t.test('members reach each other', async (t) => {
    t.ok(await pings(web2Path, '10.10.0.11'), 'IPv4');
    t.ok(await pings(web2Path, 'fd00::11'), 'IPv6');
    const full = insidePath(web2Path, 'ping -n -c 1 -W 1 -M do -s 1472 10.10.0.11');
    t.match(full, '1 received', 'frames of full size');
  });

  await t.test('the host itself is on no virtual LAN', async (t) => {
    const links = lab.inside('h1', 'ip -o link show');
    t.notMatch(links, /vxlan|carrier|macvlan/);
    t.notOk(await pings(lab.path('h1'), '10.10.0.12'));
  });

  await t.test('a probe tells which MAC answers', async (t) => {
    const v4 = await h2.probe('web2', 'blue', '10.10.0.11', 1_000, signal);
    t.equal(v4.mac, web1.mac);
    t.equal((await h2.probe('web2', 'blue', 'fd00::11', 1_000, signal)).mac, web1.mac);
    t.equal((await h2.probe('web2', 'blue', '10.10.0.99', 100, signal)).mac, undefined);
    const stop = new AbortController();
    const asked = h2.probe('web2', 'blue', '10.10.0.99', 10_000, stop.signal);
    setImmediate(() => stop.abort());
    await t.rejects(asked, { code: 'US_NET_ABORTED' });
    await t.rejects(h2.probe('web2', 'red', '10.10.0.11', 10, signal), { code: 'US_NET_NO_NIC' });
  });

  await t.test('a VIP held on lo is not answered for', async (t) => {
    const loopbackAddresses = ['10.10.0.100', 'fd00::100'];
    await h1.ensureNamespace({ ...role('web1', 1, [web1]), loopbackAddresses }, signal);
    t.equal((await h2.probe('web2', 'blue', '10.10.0.100', 100, signal)).mac, undefined);
    t.equal((await h2.probe('web2', 'blue', 'fd00::100', 100, signal)).mac, undefined);
    insidePath(web2Path, `ip route add 10.10.0.100 via 10.10.0.11`);
    t.ok(await pings(web2Path, '10.10.0.100'), 'but what is sent to its MAC is answered');
    insidePath(web2Path, `ip -6 route add fd00::100 via fd00::11`);
    t.ok(await pings(web2Path, 'fd00::100'));
  });

  await t.test('failover: the replacement has the vMAC, the address and the traffic', async (t) => {
    // h1 lost its right: it is out of every list, still running as a hung host would be.
    const allowed = [via(3)];
    await h3.setPeers(
      {
        network: 'blue',
        unicast: [{ mac: web2.mac, via: via(2) }],
        flood: [via(2)],
        allowed: [via(2)],
      },
      signal,
    );
    await h2.setPeers(
      { network: 'blue', unicast: [{ mac: web1.mac, via: via(3) }], flood: [via(3)], allowed },
      signal,
    );
    const heard = new Capture(web2Path, 'eth0');
    t.teardown(() => heard.close());
    await h3.ensureNamespace(role('web1', 2, [web1]), signal);
    await h3.announce({ name: 'web1', nics: [web1] }, signal);
    const arps = await heard.frame((frame) => frame.readUInt16BE(12) === 0x0806);
    t.equal(macText(arps?.subarray(6, 12) ?? Buffer.alloc(0)), web1.mac);
    t.ok(arps?.subarray(28, 32).equals(ipBytes('10.10.0.11')));
    t.ok(await heard.frame((frame) => frame.readUInt16BE(12) === 0x86dd && frame[54] === 136));
    t.ok(await pings(web2Path, '10.10.0.11'));
    t.ok(await pings(web2Path, 'fd00::11'));
    t.equal((await h2.probe('web2', 'blue', '10.10.0.11', 1_000, signal)).mac, web1.mac);
    const fdb = insidePath(lab.networkPath('h2', 'blue'), 'bridge fdb show dev carrier');
    t.match(fdb, `${web1.mac} dst 10.66.0.3 `);
    t.notMatch(fdb, '10.66.0.1', 'no entry leads to the failed host');
  });

  await t.test('who is not a member received no frame of any kind', (t) => {
    t.strictSame(outsider.frames, []);
    const foreign = spare.frames.filter((frame) => macText(frame.subarray(6, 12)) === red1.mac);
    t.strictSame(foreign, []);
    t.end();
  });

  await t.test('removal leaves nothing', async (t) => {
    await t.rejects(h2.removeNetwork('blue', signal), { code: 'US_NET_IN_USE' });
    for (const [adapter, name] of [
      [h1, 'web1'],
      [h2, 'web2'],
      [h3, 'web1'],
      [h3, 'red1'],
    ] as const) {
      await adapter.removeNamespace(name, signal);
      await adapter.removeNamespace(name, signal);
    }
    outsider.close();
    spare.close();
    for (const adapter of [h1, h2, h3]) {
      await adapter.removeNetwork('blue', signal);
      await adapter.removeNetwork('red', signal);
      t.strictSame(await adapter.observe(signal), []);
      t.strictSame(await adapter.observeNetworks(signal), []);
    }
    t.strictSame(lab.leftovers(), []);
  });
});

test('only announcements leave with a vMAC before anybody talks', async (t) => {
  const lab = new NetLab('quiet');
  t.teardown(() => lab.remove());
  lab.addHost('h1', 1);
  lab.addHost('h2', 2);
  const h1 = lab.adapter('h1');
  const h2 = lab.adapter('h2');
  t.teardown(() => Promise.all([h1.stop(), h2.stop()]));
  await h1.ensureNetwork(vxlan('blue', 100, 1), signal);
  await h2.ensureNetwork(vxlan('blue', 100, 2), signal);
  const peers = { network: 'blue', unicast: [], flood: ['10.66.0.2'], allowed: ['10.66.0.2'] };
  await h1.setPeers(peers, signal);
  const heard = new Capture(lab.networkPath('h2', 'blue'), 'carrier');
  t.teardown(() => heard.close());
  const web1 = nic('blue', 0x11, '10.10.0.11/24');
  await h1.ensureNamespace(role('web1', 1, [web1]), signal);
  await h1.announce({ name: 'web1', nics: [web1] }, signal);
  await heard.frame((frame) => frame[21] === 2);
  const kinds = heard.frames.map((frame) => frame.toString('hex', 12, 22));
  t.strictSame(kinds, ['08060001080006040001', '08060001080006040002']);

  // With IPv6: reports to switches that snoop (143, MLDv2), and nothing that asks.
  const web2 = nic('blue', 0x12, 'fd00::12/64');
  heard.frames.length = 0;
  await h1.ensureNamespace(role('web2', 1, [web2]), signal);
  await h1.announce({ name: 'web2', nics: [web2] }, signal);
  await heard.frame((frame) => frame[54] === 136);
  for (const frame of heard.frames) {
    const hopByHop = frame[20] === 0;
    t.match(frame[hopByHop ? 62 : 54], hopByHop ? 143 : 136);
    t.equal(macText(frame.subarray(6, 12)), web2.mac);
  }
});

test('an underlay of IPv6 carries it too', async (t) => {
  const lab = new NetLab('six');
  t.teardown(() => lab.remove());
  for (const number of [1, 2] as const) {
    const host = `h${number}`;
    lab.addHost(host, number);
    const adapter = lab.adapter(host);
    t.teardown(() => adapter.stop());
    const spec = { ...vxlan('blue', 100, number), underlayAddress: `fd66:0::${number}` };
    await adapter.ensureNetwork(spec, signal);
    await adapter.ensureNetwork(spec, signal);
    await t.rejects(adapter.ensureNetwork({ ...spec, mtu: 1531 }, signal), { code: 'US_NET_MTU' });
    const other = 3 - number;
    const via = `fd66:0:0::${other}`;
    const unicast = [{ mac: nic('blue', other).mac, via }];
    const peers = { network: 'blue', unicast, flood: [via], allowed: [via] };
    await adapter.setPeers(peers, signal);
    await adapter.setPeers(peers, signal);
    const own = nic('blue', number, `10.10.0.${number}/24`);
    await adapter.ensureNamespace(role('web', 1, [own]), signal);
  }
  t.ok(await pings(lab.rolePath('h1', 'web'), '10.10.0.2'));
  const fdb = insidePath(lab.networkPath('h1', 'blue'), 'bridge fdb show dev carrier');
  t.equal(fdb.trim().split('\n').length, 2);
});

test('a NIC that cannot be guarded never comes up', async (t) => {
  const lab = new NetLab('guard');
  t.teardown(() => lab.remove());
  lab.addHost('h1', 1);
  const guard = new RecordingGuard();
  const h1 = lab.adapter('h1', { guard });
  t.teardown(() => h1.stop());
  await h1.ensureNetwork(vxlan('blue', 100, 1), signal);
  const spec = { ...role('web1', 1, [nic('blue', 0x11, '10.10.0.11/24')]), incarnation: 7 };
  guard.refuse = new Error('no such map');
  await t.rejects(h1.ensureNamespace(spec, signal), {
    code: 'US_NET_GUARD',
    reason: 'no such map',
  });
  const path = lab.rolePath('h1', 'web1');
  t.notMatch(insidePath(path, 'ip -o link show'), 'eth0');
  guard.refuse = undefined;
  await h1.ensureNamespace(spec, signal);
  t.strictSame(
    guard.calls,
    Array.from({ length: 2 }, () => ({ path, interfaceName: 'eth0', incarnation: 7, up: false })),
  );
  t.match(insidePath(path, 'ip -o link show eth0'), /[<,]UP[,>]/);
});
