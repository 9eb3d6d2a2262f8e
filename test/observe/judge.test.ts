import { type Test, test } from 'tap';
import { interfaceIndex } from '../../src/ffi/bpf-filter.js';
import { inNetworkNamespace } from '../../src/ffi/namespace.js';
import { PacketSocket } from '../../src/network/packet-socket.js';
import { Judge } from '../../src/observe/judge.js';
import { describeRival, rivals, Sightings } from '../../src/observe/sightings.js';
import { cable, TestNamespace } from '../bpf-net.js';

const mac = '02:aa:00:00:00:01';

/** Frames in the order in which they passed: a host's name each. */
function seen(...ports: readonly string[]) {
  const sightings = new Sightings();
  for (const [index, port] of ports.entries()) sightings.add(mac, port, BigInt(index) * 1_000_000n);
  return sightings.tenures(mac);
}

test('a vMAC that moves from one port to the next has no rival', (t) => {
  t.strictSame(rivals(mac, seen('h1', 'h1', 'h4', 'h4')), []);
  t.strictSame(rivals(mac, seen('h1', 'h4', 'h2')), []);
  t.strictSame(rivals(mac, []), []);
  t.strictSame(rivals(mac, seen('h1', 'h1', 'h4'), ['h1', 'h4']), []);
  t.strictSame(rivals(mac, seen('h1', 'h4'), ['h1', 'h2', 'h4']), [], 'one that never spoke');
  t.end();
});

test('a frame from the old port after the first from the new one is a rival', (t) => {
  const [rival, ...others] = rivals(mac, seen('h1', 'h4', 'h1', 'h1', 'h4'));
  t.strictSame(others, []);
  t.match(rival, { port: 'h1', owner: 'h4', frames: 2, atNs: 2_000_000n });
  if (rival === undefined) return;
  t.equal(
    describeRival(rival, 0n),
    `${mac} is live from two ports: 2 frames from h1 at 2.0 ms, but h4 has it since 1.0 ms`,
  );
  t.end();
});

test('a port comes back only if it was given the vMAC again', (t) => {
  t.strictSame(rivals(mac, seen('h1', 'h4', 'h1'), ['h1', 'h4', 'h1']), []);
  t.equal(rivals(mac, seen('h1', 'h4', 'h1'), ['h1', 'h4']).length, 1);
  t.equal(rivals(mac, seen('h1', 'h4', 'h1', 'h4'), ['h1', 'h4', 'h1']).length, 1);
  t.equal(rivals(mac, seen('h1', 'h4', 'h3', 'h4'), ['h1', 'h4']).length, 1, 'never given');
  t.end();
});

/** A switch with two ports, a host behind each. */
function stage(t: Test) {
  const hub = new TestNamespace(t, 'js');
  const one = new TestNamespace(t, 'j1');
  const two = new TestNamespace(t, 'j2');
  cable(one, hub);
  hub.ip('link set eth1 name int-h1');
  cable(two, hub);
  hub.ip('link set eth1 name int-h2');
  for (const port of ['int-h1', 'int-h2']) hub.ip(`link set ${port} up`);
  const judge = new Judge({
    namespacePath: hub.path,
    macs: [mac],
    portOwner: (port) => port.replace('int-', ''),
  });
  t.teardown(() => judge.stop());
  const sender = ({ path }: TestNamespace) => {
    const index = inNetworkNamespace(path, () => interfaceIndex('eth1'));
    const socket = new PacketSocket(path, index, 0);
    t.teardown(() => socket.close());
    return (frame: Buffer) => socket.send(frame);
  };
  return { judge, fromOne: sender(one), fromTwo: sender(two) };
}

const bytes = (text: string) => Buffer.from(text.replaceAll(':', ''), 'hex');
/** A frame with the vMAC as its source. */
const plain = Buffer.concat([
  bytes('ff:ff:ff:ff:ff:ff'),
  bytes(mac),
  Buffer.from('88b50000', 'hex'),
]);
/** The same inside VXLAN, from a NIC of a lab's host. */
const wrapped = Buffer.concat([
  bytes('02:55:4c:01:00:0302:55:4c:01:00:04'),
  Buffer.from('0800', 'hex'),
  Buffer.from('4500003600004000401100000a4200010a420002', 'hex'),
  Buffer.from('c00012b500220000', 'hex'),
  Buffer.from('0800000000006400', 'hex'),
  plain,
]);

test('two senders of one vMAC are found, plain and in VXLAN', async (t) => {
  for (const [what, frame] of [
    ['plain', plain],
    ['VXLAN', wrapped],
  ] as const) {
    const { judge, fromOne, fromTwo } = stage(t);
    fromOne(frame);
    fromOne(frame);
    fromTwo(frame);
    t.match(judge.verdict(), { ok: true, frames: 3, missed: 0 }, `${what}: it moved`);
    t.ok((judge.lastFrame(mac, 'h1') ?? 0n) < (judge.lastFrame(mac, 'h2') ?? 0n));
    fromOne(frame);
    const verdict = judge.verdict();
    t.equal(verdict.ok, false, `${what}: the old one speaks again`);
    t.match(verdict.rivals, [{ mac, port: 'h1', owner: 'h2', frames: 1 }]);
    judge.stop();
  }
});
