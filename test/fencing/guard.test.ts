import { setTimeout as pause } from 'node:timers/promises';
import { type Test, test } from 'tap';
import type { BpfPlace } from '../../src/bpf/place.js';
import { objectPath } from '../../src/bpf/place.js';
import { BpfGuard } from '../../src/fencing/guard.js';
import { openLeaseMap } from '../../src/fencing/lease-map.js';
import { loadObject, programInfoById } from '../../src/ffi/bpf.js';
import {
  attachFilter,
  ensureHooks,
  interfaceIndex,
  queryFilter,
} from '../../src/ffi/bpf-filter.js';
import { bootNs } from '../../src/ffi/clock.js';
import { inNetworkNamespace } from '../../src/ffi/namespace.js';
import { acquaint, cable, TestNamespace } from '../bpf-net.js';
import { ownBpffs, quiet } from '../bpf-place.js';

const noLimit = 0xffff_ffff_ffff_ffffn;

/** A personality's NIC (a macvlan on a veth, in its own namespace) and a client at the other end. */
function stage(t: Test) {
  const host = new TestNamespace(t, 'gh');
  const role = new TestNamespace(t, 'gr');
  const client = new TestNamespace(t, 'gc');
  cable(host, client);
  host.ip(`link add link eth1 name eth0 netns ${role.name} type macvlan mode bridge`);
  role.ip('addr add 10.0.0.1/24 dev eth0');
  client.ip('addr add 10.0.0.2/24 dev eth1');
  acquaint(
    { at: role, device: 'eth0', address: '10.0.0.1' },
    { at: client, device: 'eth1', address: '10.0.0.2' },
  );
  return { role, client };
}

function newGuard(t: Test, place: BpfPlace): BpfGuard {
  const guard = new BpfGuard({ ...place, log: quiet });
  t.teardown(() => guard.close());
  return guard;
}

function letAllPass(guard: BpfGuard, incarnation: number): void {
  const lease = openLeaseMap(guard.prepare(incarnation));
  lease.raise(noLimit);
  lease.close();
}

function programId(namespacePath: string, hook: 'ingress' | 'egress'): number | undefined {
  return inNetworkNamespace(namespacePath, () =>
    queryFilter({ interfaceIndex: interfaceIndex('eth0'), hook, priority: 1, handle: 0x7573 }),
  );
}

const lengthMs = 600;

test('frames pass while the lease is held, and none from its deadline on', async (t) => {
  const { role, client } = stage(t);
  const guard = newGuard(t, ownBpffs(t));
  const lease = openLeaseMap(guard.prepare(1));
  guard.attach(role.path, 'eth0', 1);
  role.ip('link set eth0 up');
  t.equal(lease.read(), 0n);
  t.equal(await client.pings('10.0.0.1'), 0, 'never held: nothing comes in');
  t.equal(guard.counters(1).outPassed, 0);

  const renew = () => {
    const until = bootNs() + BigInt(lengthMs) * 1_000_000n;
    lease.raise(until);
    return until;
  };
  renew();
  // However long a busy machine takes to start a ping.
  const renewing = setInterval(renew, lengthMs / 6);
  t.ok((await client.pings('10.0.0.1')) > 0, 'held: answered');
  clearInterval(renewing);
  const deadline = renew();
  lease.close();
  // Nobody touches the map from here on.
  const running = client
    .exec('ping', '-n', '-q', '-i', '0.01', '-w', '2', '10.0.0.1')
    .catch(() => '');
  await pause(Number(deadline - bootNs()) / 1e6 + 1);
  const atDeadline = guard.counters(1);
  const heard = client.received('eth1');
  await running;
  t.equal(await role.pings('10.0.0.2'), 0, 'nor does its own get out');
  const after = guard.counters(1);
  t.ok(atDeadline.inPassed > 0 && atDeadline.outPassed > 0);
  t.equal(after.inPassed, atDeadline.inPassed, 'not a frame in');
  t.equal(after.outPassed, atDeadline.outPassed, 'not a frame out');
  t.ok(after.inDropped > atDeadline.inDropped, 'the stream went on and was dropped');
  t.ok(after.outDropped > atDeadline.outDropped);
  t.equal(client.received('eth1'), heard, 'the cable stayed silent');
});

test('a deadline is only ever raised, and outlives whoever raised it', (t) => {
  const guard = newGuard(t, ownBpffs(t));
  const path = guard.prepare(4);
  const lease = openLeaseMap(path);
  lease.raise(1_000n);
  lease.raise(999n);
  t.equal(lease.read(), 1_000n);
  lease.raise(1_001n);
  lease.close();
  t.throws(() => lease.read(), /closed/);
  t.equal(guard.prepare(4), path, 'kept as it is');
  const again = openLeaseMap(path);
  t.equal(again.read(), 1_001n);
  again.raise(noLimit);
  t.equal(again.read(), noLimit);
  again.close();
  guard.forget(4);
  t.throws(() => openLeaseMap(path), { code: 'US_GUARD_NO_LEASE' });
  guard.forget(4);
  const anew = openLeaseMap(guard.prepare(4));
  t.equal(anew.read(), 0n, 'a new one lets nothing pass');
  anew.close();
  t.end();
});

test('no limit is no limit', async (t) => {
  const { role, client } = stage(t);
  const guard = newGuard(t, ownBpffs(t));
  letAllPass(guard, 1);
  guard.attach(role.path, 'eth0', 1);
  role.ip('link set eth0 up');
  t.ok((await client.pings('10.0.0.1')) > 0);
});

test('a NIC that is shut passes nothing whoever holds the lease, until it is guarded again', async (t) => {
  const { role, client } = stage(t);
  const place = ownBpffs(t);
  const guard = newGuard(t, place);
  letAllPass(guard, 1);
  guard.attach(role.path, 'eth0', 1);
  role.ip('link set eth0 up');
  t.ok((await client.pings('10.0.0.1')) > 0);
  guard.shut(role.path, 'eth0');
  const shut = programId(role.path, 'egress');
  guard.shut(role.path, 'eth0');
  t.equal(programId(role.path, 'egress'), shut, 'swapped once');
  guard.close();
  const heard = client.received('eth1');
  t.equal(await client.pings('10.0.0.1'), 0, 'nothing in, also with the process gone');
  t.equal(await role.pings('10.0.0.2'), 0, 'nothing out');
  t.equal(client.received('eth1'), heard, 'the cable stayed silent');
  const next = newGuard(t, place);
  next.attach(role.path, 'eth0', 1);
  t.ok((await client.pings('10.0.0.1')) > 0, 'guarded again');
});

test('an agent that starts again keeps the guard it finds, and a new incarnation replaces it', async (t) => {
  const { role, client } = stage(t);
  const place = ownBpffs(t);
  const first = newGuard(t, place);
  letAllPass(first, 1);
  first.attach(role.path, 'eth0', 1);
  const ids = () => [programId(role.path, 'ingress'), programId(role.path, 'egress')];
  const before = ids();
  t.ok(before.every((id) => id !== undefined));
  first.attach(role.path, 'eth0', 1);
  t.same(ids(), before, 'attached once');
  first.close();
  role.ip('link set eth0 up');
  t.ok((await client.pings('10.0.0.1')) > 0, 'guarded and open with nobody there');

  const second = newGuard(t, place);
  second.prepare(1);
  second.attach(role.path, 'eth0', 1);
  t.same(ids(), before, 'adopted');
  t.ok(second.counters(1).inPassed > 0, 'with its counters');

  second.prepare(2);
  second.attach(role.path, 'eth0', 2);
  t.notSame(ids(), before);
  t.equal(await client.pings('10.0.0.1'), 0, 'under the new lease, which is not held yet');
  t.match(role.tc('filter show dev eth0 ingress'), /us_guard_in/);
  t.equal(role.tc('filter show dev eth0 ingress').match(/us_guard_in:/g)?.length, 1);
});

test('what others have on the NIC stays', (t) => {
  const { role } = stage(t);
  const place = ownBpffs(t);
  const guard = newGuard(t, place);
  guard.prepare(1);
  role.tc('qdisc add dev eth0 clsact');
  role.tc('filter add dev eth0 ingress prio 7 protocol all u32 match u32 0 0 flowid 1:1');
  guard.attach(role.path, 'eth0', 1);
  guard.attach(role.path, 'eth0', 1);
  t.match(role.tc('filter show dev eth0 ingress'), /pref 7 u32/);
  t.match(role.tc('filter show dev eth0 ingress'), /pref 1 bpf.*\n?.*us_guard_in/);
  t.end();
});

test('somebody else’s program in our place is not touched, and is named', (t) => {
  const { role } = stage(t);
  const place = ownBpffs(t);
  const guard = newGuard(t, place);
  guard.prepare(1);
  const other = loadObject(objectPath(place, 'peers'), new Map());
  t.teardown(() => other.close());
  inNetworkNamespace(role.path, () => {
    const index = interfaceIndex('eth0');
    ensureHooks(index);
    const at = { interfaceIndex: index, hook: 'egress', priority: 1, handle: 0x7573 } as const;
    attachFilter(at, other.program('us_peers'), false);
  });
  t.throws(() => guard.attach(role.path, 'eth0', 1), { code: 'US_BPF_TAKEN', message: /us_peers/ });
  t.equal(programInfoById(programId(role.path, 'egress') ?? 0)?.name, 'us_peers');
  t.end();
});

test('what is missing is said', (t) => {
  const { role } = stage(t);
  const place = ownBpffs(t);
  const guard = newGuard(t, place);
  t.throws(() => guard.attach(role.path, 'eth0', 9), { code: 'US_GUARD_NO_LEASE' });
  guard.prepare(1);
  t.throws(() => guard.attach(role.path, 'eth7', 1), { code: 'US_BPF_ATTACH', message: /ENODEV/ });
  t.throws(() => guard.attach('/run/netns/ustest-none', 'eth0', 1), { code: 'US_BPF_ATTACH' });
  const nowhere = newGuard(t, { bpffs: '/tmp' });
  t.throws(() => nowhere.prepare(1), { code: 'US_BPF_FILESYSTEM' });
  const noObjects = newGuard(t, { ...place, objectDirectory: '/nonexistent' });
  t.throws(() => noObjects.attach(role.path, 'eth0', 1), { code: 'US_BPF_LOAD' });
  t.end();
});
