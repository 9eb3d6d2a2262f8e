import { type Test, test } from 'tap';
import { objectPath } from '../../src/bpf/place.js';
import { BpfGuard } from '../../src/fencing/guard.js';
import { openLeaseMap } from '../../src/fencing/lease-map.js';
import { BpfPeerFilter } from '../../src/fencing/peer-filter.js';
import { loadObject } from '../../src/ffi/bpf.js';
import { closeFd, openPinned } from '../../src/ffi/bpf-map.js';
import { tcVerdict, testRun } from '../../src/ffi/bpf-test-run.js';
import { bootNs } from '../../src/ffi/clock.js';
import { TestNamespace } from '../bpf-net.js';
import { ownBpffs, quiet } from '../bpf-place.js';
import { be16, ethernet, ipv4, ipv6, tcp, udp } from '../dispatch/packets.js';

const UDP = 17;
const mac = ['02:00:00:00:00:01', '02:00:00:00:00:02'] as const;
const vxlan = (vni: number) =>
  udp(
    50000,
    4789,
    Buffer.concat([be16(0x0800, 0), be16(vni >> 8, (vni & 255) << 8), Buffer.alloc(60)]),
  );
const over4 = (payload: Uint8Array, protocol = UDP) =>
  ethernet(...mac, 0x0800, ipv4({ from: '10.66.0.1', to: '10.66.0.2', protocol }, payload));
const over6 = (payload: Uint8Array) =>
  ethernet(...mac, 0x86dd, ipv6({ from: 'fd66::1', to: 'fd66::2', next: UDP }, payload));

/** A host with its underlay NIC. */
function stage(t: Test) {
  const place = ownBpffs(t);
  const here = new TestNamespace(t, 'dh');
  here.ip('link add eth1 type veth peer name other');
  const options = { cluster: 'lab.test', underlayInterface: 'eth1', hostNamespacePath: here.path };
  const filter = new BpfPeerFilter({ ...place, ...options, log: quiet });
  const guard = new BpfGuard({ ...place, log: quiet });
  t.teardown(() => {
    filter.close();
    guard.close();
  });
  return { place, here, filter, guard };
}

test('frames of our networks leave while the lease holds, all others always', (t) => {
  const { place, filter, guard } = stage(t);
  const path = guard.prepare(1);
  filter.set(100, []);
  filter.hold(1);

  const given = new Map(
    [
      ['lease', path],
      ['peer_networks', `${place.bpffs}/understudy/peers-lab%2etest/peer_networks`],
    ].map(([name = '', at = '']) => [name, openPinned(at) ?? -1] as const),
  );
  const object = loadObject(objectPath(place, 'departures'), given);
  for (const fd of given.values()) closeFd(fd);
  t.teardown(() => object.close());
  const leaves = (frame: Uint8Array) =>
    testRun(object.program('us_departures'), frame).verdict === tcVerdict.continue;
  const verdicts = () => [over4(vxlan(100)), over6(vxlan(100))].map(leaves);

  const others = [
    over4(vxlan(101)),
    over4(udp(1, 53)),
    over4(tcp(1, 4789), 6),
    over4(Buffer.alloc(3)),
  ];
  t.same(
    others.map(leaves),
    others.map(() => true),
    'not ours',
  );
  t.same(verdicts(), [false, false], 'never held');
  const lease = openLeaseMap(path);
  t.teardown(() => lease.close());
  lease.raise(bootNs() - 1n);
  t.same(verdicts(), [false, false], 'over');
  lease.raise(bootNs() + 60_000_000_000n);
  t.same(verdicts(), [true, true], 'held');
  filter.set(100, undefined);
  t.same(verdicts(), [true, true]);
  t.end();
});

test('one at a time, for the newest incarnation; none when it is let go', (t) => {
  const { here, filter, guard } = stage(t);
  here.tc('qdisc add dev eth1 clsact');
  here.tc('filter add dev eth1 egress prio 3 protocol all u32 match u32 0 0 flowid 1:1');
  const show = () => here.tc('filter show dev eth1 egress').match(/us_departures.* id (\d+)/)?.[1];
  t.throws(() => filter.hold(1), { code: 'US_GUARD_NO_LEASE' });
  guard.prepare(1);
  filter.hold(1);
  const first = show();
  t.ok(first);
  filter.hold(1);
  t.equal(show(), first, 'kept');
  guard.prepare(2);
  filter.hold(2);
  t.not(show(), first, 'swapped');
  filter.release();
  t.equal(show(), undefined);
  t.match(here.tc('filter show dev eth1 egress'), /pref 3 u32/, 'that of others stays');
  filter.release();
  t.end();
});
