import { type Test, test } from 'tap';
import { type BpfPlace, objectPath } from '../../src/bpf/place.js';
import { BpfPeerFilter } from '../../src/fencing/peer-filter.js';
import { loadObject } from '../../src/ffi/bpf.js';
import { closeFd, openPinned } from '../../src/ffi/bpf-map.js';
import { tcVerdict, testRun } from '../../src/ffi/bpf-test-run.js';
import { acquaint, cable, TestNamespace } from '../bpf-net.js';
import { ownBpffs, quiet } from '../bpf-place.js';
import {
  be16,
  ethernet,
  extension,
  fragmentHeader,
  ipv4,
  ipv6,
  tcp,
  udp,
} from '../dispatch/packets.js';

function newFilter(
  t: Test,
  place: BpfPlace,
  host: TestNamespace,
  cluster = 'lab.test',
): BpfPeerFilter {
  const filter = new BpfPeerFilter({
    ...place,
    cluster,
    underlayInterface: 'eth1',
    hostNamespacePath: host.path,
    log: quiet,
  });
  t.teardown(() => filter.close());
  return filter;
}

function wired(t: Test) {
  const here = new TestNamespace(t, 'ph');
  const there = new TestNamespace(t, 'pt');
  cable(here, there);
  return { here, there };
}

/** The program on the very maps that the filter pinned. */
function programOn(t: Test, place: BpfPlace) {
  const given = new Map(
    ['peer_networks', 'peer_sources'].map((name) => {
      const fd = openPinned(`${place.bpffs}/understudy/peers-lab%2etest/${name}`);
      if (fd === undefined) throw new Error(`${name} is not pinned`);
      return [name, fd] as const;
    }),
  );
  const object = loadObject(objectPath(place, 'peers'), given);
  for (const fd of given.values()) closeFd(fd);
  t.teardown(() => object.close());
  return (frame: Uint8Array) => {
    const { verdict, frame: out } = testRun(object.program('us_peers'), frame);
    t.same(out, frame, 'untouched');
    return verdict === tcVerdict.drop ? 'drop' : verdict === tcVerdict.continue ? 'pass' : verdict;
  };
}

const header = (vni: number, flags = 0x0800) =>
  Buffer.concat([be16(flags, 0), be16(vni >> 8, (vni & 255) << 8)]);
const vxlan = (vni: number) => udp(50000, 4789, Buffer.concat([header(vni), Buffer.alloc(60, 7)]));
const [UDP, TCP, FRAGMENT, DESTINATION] = [17, 6, 44, 60];
const from4 = (from: string, payload: Uint8Array, more = {}) =>
  ethernet(
    '02:00:00:00:00:01',
    '02:00:00:00:00:02',
    0x0800,
    ipv4({ from, to: '10.66.0.1', protocol: UDP, ...more }, payload),
  );
const from6 = (from: string, payload: Uint8Array, next = UDP) =>
  ethernet(
    '02:00:00:00:00:01',
    '02:00:00:00:00:02',
    0x86dd,
    ipv6({ from, to: 'fd66::1', next }, payload),
  );

test('a network’s frames come in from its hosts only; everything else is let alone', (t) => {
  const { here } = wired(t);
  const place = ownBpffs(t);
  const filter = newFilter(t, place, here);
  filter.set(100, ['10.66.0.2', 'fd66::2']);
  filter.set(0xabcdef, []);
  const judge = programOn(t, place);
  const seven = Array.from({ length: 6 }).reduce<Buffer>(
    (inner) => extension(DESTINATION, inner),
    extension(UDP, vxlan(100)),
  );
  const cases: readonly (readonly [string, Buffer, 'pass' | 'drop'])[] = [
    ['a host of the network', from4('10.66.0.2', vxlan(100)), 'pass'],
    ['another host', from4('10.66.0.3', vxlan(100)), 'drop'],
    ['a host of another network', from4('10.66.0.2', vxlan(0xabcdef)), 'drop'],
    ['a VNI that is not ours', from4('10.66.0.3', vxlan(101)), 'pass'],
    ['another host, IPv4 options', from4('10.66.0.3', vxlan(100), { options: 8 }), 'drop'],
    ['another host, no VNI flag', from4('10.66.0.3', udp(1, 4789, header(100, 0))), 'drop'],
    ['another host, bare headers', from4('10.66.0.3', udp(1, 4789, header(100))), 'drop'],
    [
      'cut off before the VNI: the vxlan device discards it',
      from4('10.66.0.3', udp(1, 4789, header(100).subarray(0, 6))),
      'pass',
    ],
    ['first fragment, another host', from4('10.66.0.3', vxlan(100), { fragment: 0x2000 }), 'drop'],
    [
      'first fragment, a host of the network',
      from4('10.66.0.2', vxlan(100), { fragment: 0x2000 }),
      'pass',
    ],
    [
      'first fragment that hides the VNI',
      from4('10.66.0.3', vxlan(100).subarray(0, 8), { fragment: 0x2000 }),
      'drop',
    ],
    [
      'first fragment of something else',
      from4('10.66.0.3', udp(1, 53).subarray(0, 8), { fragment: 0x2000 }),
      'pass',
    ],
    ['later fragment', from4('10.66.0.3', vxlan(100), { fragment: 3 }), 'pass'],
    ['another port', from4('10.66.0.3', udp(4789, 4790, header(100))), 'pass'],
    ['TCP', from4('10.66.0.3', tcp(1, 4789), { protocol: TCP }), 'pass'],
    ['total length beyond the frame', from4('10.66.0.3', vxlan(100), { totalBytes: 900 }), 'pass'],
    ['UDP cut off', from4('10.66.0.3', Buffer.alloc(3)), 'pass'],
    ['ARP', ethernet('ff:ff:ff:ff:ff:ff', '02:00:00:00:00:02', 0x0806, Buffer.alloc(28)), 'pass'],
    ['IPv6: a host of the network', from6('fd66::2', vxlan(100)), 'pass'],
    ['IPv6: another host', from6('fd66::3', vxlan(100)), 'drop'],
    [
      'IPv6: another host behind options',
      from6('fd66::3', extension(UDP, vxlan(100)), DESTINATION),
      'drop',
    ],
    [
      'IPv6: first fragment, another host',
      from6('fd66::3', fragmentHeader(UDP, 1, vxlan(100)), FRAGMENT),
      'drop',
    ],
    [
      'IPv6: later fragment',
      from6('fd66::3', fragmentHeader(UDP, 8, vxlan(100)), FRAGMENT),
      'pass',
    ],
    ['IPv6: more headers than are walked', from6('fd66::3', seven, DESTINATION), 'drop'],
    ['IPv6: IPv4 address of a host in it', from6('::ffff:10.66.0.3', vxlan(100)), 'drop'],
  ];
  for (const [name, frame, verdict] of cases) t.equal(judge(frame), verdict, name);
  t.end();
});

test('what is set is absolute; a host that is shut out stays out after a restart', (t) => {
  const { here } = wired(t);
  const place = ownBpffs(t);
  const filter = newFilter(t, place, here);
  filter.set(100, ['10.66.0.2', '10.66.0.3']);
  const judge = programOn(t, place);
  const of = (host: number) => judge(from4(`10.66.0.${host}`, vxlan(100)));
  t.same([of(2), of(3), of(4)], ['pass', 'pass', 'drop']);
  filter.set(100, ['10.66.0.3', '10.66.0.4']);
  t.same([of(2), of(3), of(4)], ['drop', 'pass', 'pass']);
  filter.close();
  t.same([of(2), of(3), of(4)], ['drop', 'pass', 'pass'], 'nobody is there');
  const next = newFilter(t, place, here);
  next.set(100, ['10.66.0.2']);
  t.same([of(2), of(3), of(4)], ['pass', 'drop', 'drop'], 'the next one knows what stood there');
  next.set(100, undefined);
  t.same([of(2), of(3), of(4)], ['pass', 'pass', 'pass'], 'no network of ours any more');
  next.set(100, []);
  t.same([of(2), of(3)], ['drop', 'drop'], 'nothing of old comes back');
  t.end();
});

test('it stands beside the filters of others, attached once', (t) => {
  const { here } = wired(t);
  const place = ownBpffs(t);
  here.tc('qdisc add dev eth1 clsact');
  here.tc('filter add dev eth1 ingress prio 3 protocol all u32 match u32 0 0 flowid 1:1');
  const show = () => here.tc('filter show dev eth1 ingress');
  newFilter(t, place, here).set(1, []);
  const again = newFilter(t, place, here);
  again.set(2, []);
  const other = newFilter(t, place, here, 'another');
  other.set(3, []);
  t.equal(show().match(/us_peers:/g)?.length, 2, 'one for each cluster');
  again.remove();
  t.equal(show().match(/us_peers:/g)?.length, 1);
  t.match(show(), /pref 3 u32/);
  again.set(2, []);
  t.equal(show().match(/us_peers:/g)?.length, 2, 'and back');
  t.end();
});

test('a NIC that was made anew gets its filter at the next change', (t) => {
  const { here, there } = wired(t);
  const filter = newFilter(t, ownBpffs(t), here);
  filter.set(1, []);
  here.ip('link delete eth1');
  t.throws(() => filter.set(1, []), { code: 'US_BPF_ATTACH', message: /ENODEV/ });
  cable(here, there);
  filter.set(1, []);
  t.match(here.tc('filter show dev eth1 ingress'), /us_peers/);
  t.end();
});

test('with real VXLAN devices: heard while allowed, silent when shut out', async (t) => {
  const { here, there } = wired(t);
  for (const [end, number] of [
    [here, 1],
    [there, 2],
  ] as const) {
    end.ip(`addr add 10.66.0.${number}/24 dev eth1`);
    end.ip(
      `link add vx type vxlan id 100 local 10.66.0.${number} remote 10.66.0.${3 - number} dstport 4789 dev eth1 nolearning`,
    );
    end.ip(`addr add 10.9.0.${number}/24 dev vx`);
    end.ip('link set vx up');
  }
  acquaint(
    { at: here, device: 'vx', address: '10.9.0.1' },
    { at: there, device: 'vx', address: '10.9.0.2' },
  );
  const filter = newFilter(t, ownBpffs(t), here);
  filter.set(100, []);
  t.equal(await there.pings('10.9.0.1'), 0);
  filter.set(100, ['10.66.0.2']);
  t.ok((await there.pings('10.9.0.1')) > 0);
  filter.set(100, ['10.66.0.3']);
  t.equal(await there.pings('10.9.0.1'), 0);
  t.ok((await there.pings('10.66.0.1')) > 0, 'the host itself is reached');
  const { letIn, droppedPeer } = filter.counters();
  t.ok(letIn > 0 && droppedPeer > 0);
});
