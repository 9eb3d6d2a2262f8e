import { spawn } from 'node:child_process';
import { type Test, test } from 'tap';
import { tagByBpf } from '../../src/lab/vm/edge.js';
import { Capture } from '../../src/observe/observers.js';
import { acquaint, TestNamespace } from '../bpf-net.js';

/** Two edges on one wire, of these VLANs, and an observer of what is on it. */
function wire(t: Test, ids: readonly [number, number]) {
  const ends = ids.map((_, index) => new TestNamespace(t, `edge${index}`)) as [
    TestNamespace,
    TestNamespace,
  ];
  ends[0].ip(`link add eth0 type veth peer name eth0 netns ${ends[1].name}`);
  const [one, other] = ends.map((at, index) => {
    at.set('net.ipv6.conf.eth0.disable_ipv6', 1);
    at.ip(`addr add 10.10.0.${index + 1}/24 dev eth0`);
    at.ip('link set eth0 up');
    tagByBpf({ id: ids[index] ?? 0 }, at.path);
    return { at, device: 'eth0', address: `10.10.0.${index + 1}` };
  });
  if (one === undefined || other === undefined) throw new Error('a wire has two ends');
  acquaint(one, other);
  const nodes = {
    spawn: (node: string, argv: readonly string[]) => spawn('ip', ['netns', 'exec', node, ...argv]),
  };
  const capture = new Capture(nodes, ends[0].name, 'eth0', '');
  t.teardown(() => capture.stop());
  return { from: one.at, to: other.address, capture };
}

test('edges of one VLAN meet, and every frame between them carries its tag', async (t) => {
  const { from, to, capture } = wire(t, [100, 100]);
  await capture.ready;
  t.equal(await from.pings(to), 3);
  t.ok(capture.frames.length >= 6);
  t.same([...new Set(capture.frames.map(({ seen }) => seen.vlan))], [100]);
});

test('edges of two VLANs do not', async (t) => {
  const { from, to } = wire(t, [100, 200]);
  t.equal(await from.pings(to), 0);
});
