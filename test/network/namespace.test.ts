import { execFileSync } from 'node:child_process';
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { type Test, test } from 'tap';
import { type NamespaceSpec, type PeerFilter, preparedEpoch } from '../../src/network/types.js';
import { insidePath, NetLab, nic, pings, RecordingGuard, vxlan } from './lab.js';

const signal = new AbortController().signal;
const web1 = nic('blue', 0x11, '10.10.0.11/24');

function role(more: Partial<NamespaceSpec> = {}): NamespaceSpec {
  const base = { name: 'web1', cluster: 'test', epoch: 1, incarnation: 1 };
  return { ...base, nics: [web1], routes: [], loopbackAddresses: [], ...more };
}

function setUp(t: Test, name: string) {
  const lab = new NetLab(name);
  t.teardown(() => lab.remove());
  lab.addHost('h1', 1);
  const guard = new RecordingGuard();
  const h1 = lab.adapter('h1', { guard });
  t.teardown(() => h1.stop());
  return { lab, guard, h1, path: lab.rolePath('h1', 'web1') };
}

test('a namespace is adopted, also by a new instance, and only differences change', async (t) => {
  const { lab, guard, h1, path } = setUp(t, 'adopt');
  await h1.ensureNetwork(vxlan('blue', 100, 1), signal);
  await h1.ensureNetwork(vxlan('blue', 100, 1), signal);
  await h1.ensureNamespace(role(), signal);
  t.match(execFileSync('ip', ['netns', 'list'], { encoding: 'utf8' }), path.split('/').at(-1));
  const before = insidePath(path, 'ip -o link show eth0');
  t.match(before, 'alias understudy:test:web1:1:1:blue');
  await h1.ensureNamespace(role(), signal);

  const again = lab.adapter('h1', { guard });
  t.teardown(() => again.stop());
  await again.start(signal);
  t.strictSame(await again.observe(signal), [
    { name: 'web1', epoch: 1, incarnation: 1, up: true, nics: [web1] },
  ]);
  t.strictSame(await again.observeNetworks(signal), ['blue']);
  await t.rejects(again.ensureNamespace(role(), signal), { code: 'US_NET_UNKNOWN_NETWORK' });
  await again.ensureNetwork(vxlan('blue', 100, 1), signal);
  insidePath(path, 'ip addr add 10.10.0.99/24 dev eth0');
  insidePath(path, 'ip route add 192.168.7.0/24 via 10.10.0.1');
  const grown = role({
    nics: [nic('blue', 0x11, '10.10.0.11/24', '10.10.0.12/24', 'fd00::11/64')],
    routes: [
      { to: '0.0.0.0/0', via: '10.10.0.1' },
      { to: '::/0', via: 'fd00::1' },
    ],
    loopbackAddresses: ['10.10.0.100', 'fd00::100'],
  });
  await again.ensureNamespace(grown, signal);
  t.match(insidePath(path, 'ip -4 route show default'), 'default via 10.10.0.1 dev eth0');
  t.match(insidePath(path, 'ip -6 route show default'), 'default via fd00::1 dev eth0');
  t.match(insidePath(path, 'ip -4 -o addr show lo'), /10\.10\.0\.100\/32 scope host/);
  t.match(insidePath(path, 'ip -6 -o addr show lo'), 'fd00::100/128');
  t.match(insidePath(path, 'ip -6 -o addr show eth0'), 'fe80::5eff:fe00:11/64 scope link nodad');
  await again.ensureNamespace(role(), signal);
  const index = (line: string) => line.split(':')[0];
  t.equal(index(insidePath(path, 'ip -o link show eth0')), index(before), 'the very same NIC');
  t.equal(guard.calls.length, 1);
  const addresses = insidePath(path, 'ip -o addr show');
  t.notMatch(addresses, /10\.10\.0\.12|10\.10\.0\.100|fd00|fe80/);
  t.match(addresses, '10.10.0.99', 'what others set stays');
  t.equal(insidePath(path, 'ip -4 route show default'), '');
  t.match(insidePath(path, 'ip -4 route show'), '192.168.7.0/24', 'what others set stays');
});

test('another epoch or incarnation gets new NICs under its own guard', async (t) => {
  const { guard, h1, path } = setUp(t, 'epoch');
  await h1.ensureNetwork(vxlan('blue', 100, 1), signal);
  await h1.ensureNamespace(role(), signal);
  const index = () => insidePath(path, 'ip -o link show eth0').split(':')[0];
  const first = index();
  await h1.ensureNamespace(role({ epoch: 2 }), signal);
  const second = index();
  t.not(second, first);
  await h1.ensureNamespace(role({ epoch: 2, incarnation: 5 }), signal);
  t.not(index(), second);
  t.strictSame(
    guard.calls.map(({ incarnation, up }) => ({ incarnation, up })),
    [
      { incarnation: 1, up: false },
      { incarnation: 1, up: false },
      { incarnation: 5, up: false },
    ],
  );
  const [seen] = await h1.observe(signal);
  t.match(seen, { epoch: 2, incarnation: 5, up: true });
  await t.rejects(h1.ensureNamespace(role({ epoch: 1 }), signal), { code: 'US_NET_STALE_EPOCH' });
});

test('NICs on several networks come and go one by one', async (t) => {
  const { guard, h1, path } = setUp(t, 'several');
  await h1.ensureNetwork(vxlan('blue', 100, 1), signal);
  await h1.ensureNetwork(vxlan('red', 200, 1), signal);
  const red = nic('red', 0x21, '10.20.0.11/24');
  await h1.ensureNamespace(role({ nics: [web1, red] }), signal);
  const [seen] = await h1.observe(signal);
  t.strictSame(seen?.nics, [web1, red]);
  await t.rejects(h1.removeNetwork('red', signal), { code: 'US_NET_IN_USE' });
  await h1.ensureNamespace(role(), signal);
  t.notMatch(insidePath(path, 'ip -o link show'), 'eth1');
  t.equal(guard.calls.length, 2);
  await h1.removeNetwork('red', signal);
});

test('the settings that the design needs are made', async (t) => {
  const { lab, h1, path } = setUp(t, 'sysctl');
  lab.inside('h1', 'sysctl -q -w net.ipv4.ip_forward=1');
  await h1.ensureNetwork(vxlan('blue', 100, 1), signal);
  const v6 = nic('blue', 0x11, '10.10.0.11/24', 'fd00::11/64');
  await h1.ensureNetwork(vxlan('red', 200, 1), signal);
  await h1.ensureNamespace(role({ nics: [v6, nic('red', 0x21, '10.20.0.11/24')] }), signal);
  const value = (name: string) => insidePath(path, `sysctl -n ${name}`).trim();
  t.equal(value('net.ipv4.conf.all.arp_ignore'), '1');
  t.equal(value('net.ipv4.conf.all.arp_announce'), '2');
  t.equal(value('net.ipv4.conf.eth0.rp_filter'), '2');
  t.equal(value('net.ipv4.ip_forward'), '0');
  t.equal(value('net.ipv6.conf.eth0.disable_ipv6'), '0');
  t.equal(value('net.ipv6.conf.eth0.accept_ra'), '0');
  t.equal(value('net.ipv6.conf.eth0.dad_transmits'), '0');
  t.equal(value('net.ipv6.conf.eth1.disable_ipv6'), '1', 'no IPv6 where there is no address');
  const carrier = insidePath(
    lab.networkPath('h1', 'blue'),
    'sysctl -n net.ipv6.conf.carrier.disable_ipv6',
  );
  t.equal(carrier.trim(), '1');
});

test('what is not ours is refused and left as it was', async (t) => {
  const { lab, h1, path } = setUp(t, 'foreign');
  await h1.ensureNetwork(vxlan('blue', 100, 1), signal);
  execFileSync('ip', ['netns', 'add', path.split('/').at(-1) ?? '']);
  await t.rejects(h1.ensureNamespace(role(), signal), { code: 'US_NET_FOREIGN' });
  await t.rejects(h1.removeNamespace('web1', signal), { code: 'US_NET_FOREIGN' });
  t.strictSame(await h1.observe(signal), []);
  execFileSync('ip', ['netns', 'del', path.split('/').at(-1) ?? '']);

  await h1.ensureNamespace(role({ nics: [] }), signal);
  insidePath(path, 'ip link add eth0 type bridge');
  await t.rejects(h1.ensureNamespace(role(), signal), {
    code: 'US_NET_FOREIGN',
    reason: `device eth0 in ${path} is already there and carries no tag of this cluster`,
  });
  t.match(insidePath(path, 'ip -d -o link show eth0'), 'bridge');

  const network = lab.networkPath('h1', 'green');
  execFileSync('ip', ['netns', 'add', network.split('/').at(-1) ?? '']);
  await t.rejects(h1.ensureNetwork(vxlan('green', 300, 1), signal), { code: 'US_NET_FOREIGN' });
  await t.rejects(h1.removeNetwork('green', signal), { code: 'US_NET_FOREIGN' });

  lab.inside('h1', 'ip link add taken type vxlan id 400 dstport 4789 local 10.66.0.1 dev eth1');
  await t.rejects(h1.ensureNetwork(vxlan('grey', 400, 1), signal), {
    code: 'US_NET_EXISTS',
    reason: /VXLAN device with the specified VNI already exists/,
  });
  t.match(lab.inside('h1', 'ip -o link show'), 'taken');
  await h1.removeNetwork('grey', signal);

  await h1.ensureNamespace(role({ name: 'a' }), signal);
  await t.rejects(h1.ensureNamespace(role({ name: 'b' }), signal), {
    code: 'US_NET_EXISTS',
    errnoName: 'EADDRINUSE',
  });
  t.notMatch(insidePath(lab.rolePath('h1', 'b'), 'ip -o link show'), 'eth0');

  const other = lab.adapter('h1', { cluster: 'other' });
  t.teardown(() => other.stop());
  t.strictSame(await other.observe(signal), []);
  await t.rejects(other.removeNamespace('web1', signal), { code: 'US_NET_FOREIGN' });
  await t.rejects(other.removeNetwork('blue', signal), { code: 'US_NET_FOREIGN' });
});

test('a namespace of somebody else ends when they end it, though it is named like ours', async (t) => {
  const { lab, h1, path } = setUp(t, 'likeours');
  const name = path.split('/').at(-1) ?? '';
  execFileSync('ip', ['netns', 'add', name]);
  lab.inside('h1', `ip link add theirs type veth peer name inside netns ${path}`);
  t.strictSame(await h1.observe(signal), []);
  await t.rejects(h1.removeNamespace('web1', signal), { code: 'US_NET_FOREIGN' });
  execFileSync('ip', ['netns', 'del', name]);
  // The kernel ends a namespace a moment after its last user, and with it all that was in it.
  const theirs = () => /theirs/.test(lab.inside('h1', 'ip -o link show'));
  for (const started = Date.now(); theirs() && Date.now() - started < 5_000; ) await pause(10);
  t.notOk(theirs(), 'the other end of its cable is gone');
});

test('what a crash left unfinished is made anew', async (t) => {
  const { lab, guard, h1, path } = setUp(t, 'crash');
  await h1.ensureNetwork(vxlan('blue', 100, 1), signal);
  await h1.ensureNamespace(role({ nics: [] }), signal);
  const add = `ip link add link carrier name eth0 netns ${path} group 1970500729`;
  insidePath(lab.networkPath('h1', 'blue'), `${add} type macvlan mode bridge`);
  await h1.ensureNamespace(role(), signal);
  t.equal(guard.calls.length, 1);
  t.match(insidePath(path, 'ip -o link show eth0'), '02:00:5e:00:00:11');
});

test('a network is refused where the NIC below cannot carry it', async (t) => {
  const { lab, h1 } = setUp(t, 'underlay');
  const spec = vxlan('blue', 100, 1);
  await t.rejects(h1.ensureNetwork({ ...spec, underlayInterface: 'eth7' }, signal), {
    code: 'US_NET_NO_PARENT',
  });
  await t.rejects(h1.ensureNetwork({ ...spec, mtu: 1551 }, signal), {
    code: 'US_NET_MTU',
    reason: 'it needs 1601 bytes a frame, eth1 carries 1600',
  });
  lab.inside('h1', 'ip link set eth1 down');
  await t.rejects(h1.ensureNetwork(spec, signal), { code: 'US_NET_PARENT_DOWN' });
  lab.inside('h1', 'ip link set eth1 up');
  await t.rejects(h1.ensureNetwork({ ...spec, underlayAddress: '10.66.0.9' }, signal), {
    code: 'US_NET_NO_ADDRESS',
  });
  await t.rejects(h1.ensureNetwork({ ...spec, name: '../blue' }, signal), {
    code: 'US_NET_BAD_NAME',
  });
  await h1.ensureNetwork(spec, signal);
  await h1.ensureNetwork({ ...spec, mtu: 1400 }, signal);
  const carrier = lab.networkPath('h1', 'blue');
  t.match(insidePath(carrier, 'ip -o link show carrier'), 'mtu 1400');
  await h1.ensureNamespace(role(), signal);
  await t.rejects(h1.ensureNetwork({ ...spec, id: 101 }, signal), { code: 'US_NET_IN_USE' });
  await h1.removeNamespace('web1', signal);
  await h1.ensureNetwork({ ...spec, id: 101 }, signal);
  t.match(insidePath(carrier, 'ip -d -o link show carrier'), 'vxlan id 101 ');
});

test('the peer filter follows the peers', async (t) => {
  const { lab, guard } = setUp(t, 'filter');
  const calls: [number, readonly string[] | undefined][] = [];
  const peerFilter: PeerFilter = {
    set: (vni, allowed) => calls.push([vni, allowed]),
    hold: () => {},
    release: () => {},
  };
  const h1 = lab.adapter('h1', { guard, peerFilter });
  t.teardown(() => h1.stop());
  await h1.ensureNetwork(vxlan('blue', 100, 1), signal);
  const peers = { network: 'blue', unicast: [], flood: ['10.66.0.2'], allowed: ['10.66.0.2'] };
  await h1.setPeers(peers, signal);
  await h1.ensureNetwork(vxlan('blue', 100, 1), signal);
  await h1.setPeers({ ...peers, allowed: [] }, signal);
  await h1.removeNetwork('blue', signal);
  t.strictSame(calls, [
    [100, []],
    [100, ['10.66.0.2']],
    [100, []],
    [100, undefined],
  ]);
});

test('a VNI that a network no longer has is filtered no more', async (t) => {
  const { lab, guard } = setUp(t, 'vni');
  const filtered = new Set<number>();
  const peerFilter: PeerFilter = {
    set: (vni, allowed) => (allowed === undefined ? filtered.delete(vni) : filtered.add(vni)),
    hold: () => {},
    release: () => {},
  };
  const h1 = lab.adapter('h1', { guard, peerFilter });
  t.teardown(() => h1.stop());
  await h1.ensureNetwork(vxlan('blue', 100, 1), signal);
  await h1.ensureNetwork(vxlan('blue', 101, 1), signal);
  t.same([...filtered], [101]);
});

test('two personalities of one host reach each other over the untagged fabric', async (t) => {
  const { lab, h1, path } = setUp(t, 'untagged');
  lab.addHost('h2', 2);
  const h2 = lab.adapter('h2');
  t.teardown(() => h2.stop());
  const plain = { name: 'plain', fabric: 'untagged', id: 0, mtu: 1500 } as const;
  const on = { underlayInterface: 'eth1', underlayAddress: '10.66.0.1' };
  for (const adapter of [h1, h2]) await adapter.ensureNetwork({ ...plain, ...on }, signal);
  await h1.setPeers({ network: 'plain', unicast: [], flood: [], allowed: [] }, signal);
  await h1.ensureNamespace(role({ nics: [nic('plain', 1, '10.30.0.1/24')] }), signal);
  const db1 = role({ name: 'db1', nics: [nic('plain', 2, '10.30.0.2/24')] });
  await h1.ensureNamespace(db1, signal);
  const web2 = role({ name: 'web2', nics: [nic('plain', 3, '10.30.0.3/24')] });
  await h2.ensureNamespace(web2, signal);
  t.ok(await pings(path, '10.30.0.2'), 'on the same host');
  t.ok(await pings(path, '10.30.0.3'), 'on another host');
  for (const name of ['web1', 'db1']) await h1.removeNamespace(name, signal);
  await h2.removeNamespace('web2', signal);
  await h1.removeNetwork('plain', signal);
  t.match(lab.inside('h1', 'ip -o link show'), 'eth1', 'the NIC below is not ours to touch');
  t.strictSame(lab.leftovers(), []);
});

test('a NIC that is part of a bridge cannot carry an untagged network', async (t) => {
  const { lab, h1 } = setUp(t, 'bridged');
  lab.inside('h1', 'ip link add br9 type bridge');
  lab.inside('h1', 'ip link set eth1 master br9');
  const on = { underlayInterface: 'eth1', underlayAddress: '10.66.0.1' };
  const spec = { name: 'plain', fabric: 'untagged', id: 0, mtu: 1500, ...on } as const;
  await h1.ensureNetwork(spec, signal);
  const placed = h1.ensureNamespace(role({ nics: [nic('plain', 1)] }), signal);
  await t.rejects(placed, { code: 'US_NET_PARENT_BUSY' });
});

test('a run directory that is no mount yet is made one, as ip netns does', async (t) => {
  const { lab } = setUp(t, 'folder');
  const folder = mkdtempSync(join(tmpdir(), 'ustest-'));
  const runDirectory = join(folder, 'netns');
  const h1 = lab.adapter('h1', { runDirectory, guard: new RecordingGuard() });
  t.teardown(async () => {
    await h1.stop();
    execFileSync('umount', [runDirectory]);
    rmSync(folder, { recursive: true });
  });
  t.strictSame(await h1.observe(signal), []);
  await h1.ensureNetwork(vxlan('blue', 100, 1), signal);
  await h1.ensureNamespace(role(), signal);
  const shown = execFileSync('findmnt', ['-n', '-o', 'PROPAGATION', runDirectory]);
  t.equal(String(shown).trim(), 'shared');
  t.equal(readdirSync(runDirectory).length, 2);
  await h1.removeNamespace('web1', signal);
  await h1.removeNetwork('blue', signal);
  t.strictSame(readdirSync(runDirectory), []);
});

test('looking while namespaces come and go sees what is there', async (t) => {
  const { h1 } = setUp(t, 'race');
  await h1.ensureNetwork(vxlan('blue', 100, 1), signal);
  const names = ['a', 'b', 'c', 'd'];
  const changes = names.map(async (name) => {
    await h1.ensureNamespace(role({ name, nics: [nic('blue', name.charCodeAt(0))] }), signal);
    if (name > 'b') await h1.removeNamespace(name, signal);
  });
  const looks = Array.from({ length: 20 }, () => h1.observe(signal));
  await Promise.all([...changes, ...looks]);
  t.strictSame(
    (await h1.observe(signal)).map(({ name }) => name),
    ['a', 'b'],
  );
});

test('what is silenced is shut and stays up; where that fails it goes down', async (t) => {
  const { guard, h1, path } = setUp(t, 'silence');
  await h1.silence('web1', signal);
  await h1.ensureNetwork(vxlan('blue', 100, 1), signal);
  await h1.ensureNamespace(role(), signal);
  await h1.silence('web1', signal);
  t.same([...guard.shutNow], [`${path} eth0`]);
  const isUp = () => /[<,]UP[,>]/.test(insidePath(path, 'ip -o link show eth0'));
  t.ok(isUp());
  guard.refuseToShut = new Error('refused by the test');
  await h1.silence('web1', signal);
  t.notOk(isUp());
});

test('what is still running when it is stopped ends with a clear error', async (t) => {
  const { h1 } = setUp(t, 'stop');
  await h1.ensureNetwork(vxlan('blue', 100, 1), signal);
  const running = h1.ensureNamespace(role(), signal);
  await h1.stop();
  await t.rejects(running, { code: 'US_NET_CLOSED' });
  await t.rejects(h1.start(signal), { code: 'US_NET_CLOSED' });
});

test('it is quick', async (t) => {
  const { lab } = setUp(t, 'quick');
  const h1 = lab.adapter('h1', { guard: { attach: () => undefined, shut: () => undefined } });
  t.teardown(() => h1.stop());
  await h1.ensureNetwork(vxlan('blue', 100, 1), signal);
  for (const name of ['a', 'b', 'c', 'd', 'e']) {
    const started = performance.now();
    const own = nic('blue', name.charCodeAt(0), '10.10.0.11/24');
    await h1.ensureNamespace(role({ name, nics: [own] }), signal);
    t.comment(`ensureNamespace of one NIC: ${(performance.now() - started).toFixed(1)} ms`);
  }
  const unicast = Array.from({ length: 200 }, (_, index) => {
    const { mac } = nic('blue', index & 0xff);
    return { mac, via: `10.66.0.${2 + (index % 3)}` };
  });
  const peers = { network: 'blue', unicast, flood: ['10.66.0.2'], allowed: ['10.66.0.2'] };
  await h1.setPeers(peers, signal);
  const moved = unicast.map((entry, index) =>
    index === 7 ? { ...entry, via: '10.66.0.9' } : entry,
  );
  const started = performance.now();
  await h1.setPeers({ ...peers, unicast: moved }, signal);
  t.comment(`setPeers, one of 200 moved: ${(performance.now() - started).toFixed(1)} ms`);
  const fdb = insidePath(lab.networkPath('h1', 'blue'), 'bridge fdb show dev carrier');
  t.equal(fdb.split('\n').filter((line) => line.includes('10.66.0.9')).length, 1);
  t.equal(fdb.trim().split('\n').length, 201);
});

test('what is prepared is down and complete, and a takeover only brings it up', async (t) => {
  const { guard, h1, path } = setUp(t, 'prepare');
  const carrier = path.replace('us-web1', 'usn-blue');
  const index = () => JSON.parse(insidePath(path, 'ip -j link show eth0'))[0].ifindex;
  await h1.ensureNetwork({ ...vxlan('blue', 100, 1), quiet: true }, signal);
  t.notMatch(insidePath(carrier, 'ip -o link show carrier'), /[<,]UP[,>]/);
  await h1.ensureNamespace(role({ epoch: preparedEpoch, quiet: true }), signal);
  t.notMatch(insidePath(path, 'ip -o link show eth0'), /[<,]UP[,>]/);
  t.equal(guard.calls.length, 1, 'guarded before it is ever up');
  const made = index();

  await h1.ensureNetwork(vxlan('blue', 100, 1), signal);
  await h1.ensureNamespace(role({ epoch: 7 }), signal);
  t.equal(index(), made, 'the same device');
  const after = insidePath(path, 'ip -o link show eth0');
  t.match(after, /[<,]UP[,>]/);
  t.match(after, 'alias understudy:test:web1:7:1:blue');
  t.equal(guard.calls.length, 1);
  t.match(await h1.observe(signal), [{ name: 'web1', epoch: 7, up: true }]);
});

test('a NIC that is there is not taken for guarded: its guard is looked at each time', async (t) => {
  const { guard, h1, path } = setUp(t, 'reguard');
  await h1.ensureNetwork(vxlan('blue', 100, 1), signal);
  await h1.ensureNamespace(role({ epoch: preparedEpoch, quiet: true }), signal);
  t.equal(guard.kept, 0);
  guard.refuse = new Error('no such map');
  await t.rejects(h1.ensureNamespace(role(), signal), { code: 'US_NET_GUARD' });
  t.notMatch(insidePath(path, 'ip -o link show eth0'), /[<,]UP[,>]/, 'and before it is brought up');
  guard.refuse = undefined;
  await h1.ensureNamespace(role(), signal);
  await h1.ensureNamespace(role(), signal);
  t.equal(guard.kept, 2);
});

test('what was made quietly is raised under its epoch only, with its routes', async (t) => {
  const { h1, path } = setUp(t, 'raise');
  await h1.ensureNetwork(vxlan('blue', 100, 1), signal);
  const spec = role({ epoch: 7, routes: [{ to: '0.0.0.0/0', via: '10.10.0.1' }] });
  await h1.ensureNamespace({ ...spec, quiet: true }, signal);
  await t.rejects(h1.raise({ ...spec, epoch: 8 }, signal), { code: 'US_NET_NO_NIC' });
  t.notMatch(insidePath(path, 'ip -o link show eth0'), /[<,]UP[,>]/);
  await h1.raise(spec, signal);
  await h1.raise(spec, signal);
  t.match(insidePath(path, 'ip -o link show eth0'), /[<,]UP[,>]/);
  t.match(insidePath(path, 'ip -4 route show default'), 'default via 10.10.0.1 dev eth0');
});

test('what was prepared under another incarnation is made anew, under its guard', async (t) => {
  const { guard, h1, path } = setUp(t, 'stale');
  const index = () => JSON.parse(insidePath(path, 'ip -j link show eth0'))[0].ifindex;
  await h1.ensureNetwork(vxlan('blue', 100, 1), signal);
  await h1.ensureNamespace(role({ epoch: preparedEpoch, quiet: true }), signal);
  const made = index();
  await h1.ensureNamespace(role({ epoch: 7, incarnation: 2 }), signal);
  t.not(index(), made);
  t.equal(guard.calls.length, 2);
});
