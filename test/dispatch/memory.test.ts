import { deflateRawSync } from 'node:zlib';
import fc from 'fast-check';
import tap, { type Test, test } from 'tap';
import { changedFlows, flowTime, noFlows, takeFlows } from '../../src/dispatch/flow-words.js';
import type { Inherited } from '../../src/dispatch/memory.js';
import { packMemory, unpackMemory } from '../../src/dispatch/memory-bytes.js';
import type { DispatchMember, DispatchSpec } from '../../src/dispatch/types.js';
import { bootNs } from '../../src/ffi/clock.js';
import { tcp, udp } from './packets.js';
import { TestPlane } from './plane.js';
import { client4, TCP, UDP, vmac } from './program-cases.js';

tap.setTimeout(120_000);
const [SYN, ACK] = [0x02, 0x10];

const member = (number: number, weight = 1): DispatchMember => ({
  personality: `web${number}`,
  mac: `02:00:00:00:00:0${number}`,
  weight,
  healthy: true,
});

const service = (
  members: readonly DispatchMember[],
  more: Partial<DispatchSpec> = {},
): DispatchSpec => ({
  service: 'web',
  namespace: 'svc-web',
  incarnation: 1,
  mac: vmac,
  addresses: ['10.10.0.100'],
  ports: [
    { protocol: 'tcp', first: 80, last: 80 },
    { protocol: 'udp', first: 53, last: 53 },
  ],
  hash: 'source-ip-port',
  members,
  seed: '0f1e2d3c4b5a69788796a5b4c3d2e1f0',
  drainMs: 60_000,
  ...more,
});

const three = [member(1), member(2), member(3)];
const drained = [member(1, 0), member(2), member(3)];
const [old, new_, later] = [20_000, 30_000, 40_000].map((first) =>
  Array.from({ length: 200 }, (_, at) => first + at * 7),
) as [number[], number[], number[]];

function sendTo(plane: TestPlane) {
  const send = (frame: Buffer) => {
    const { did, frame: out } = plane.run(frame);
    return did === 'forward' ? `web${out[5]}` : did;
  };
  return {
    open: (port: number) => send(client4(TCP, tcp(port, 80, '', SYN))),
    go: (port: number) => send(client4(TCP, tcp(port, 80, 'GET', ACK))),
    ask: (port: number) =>
      send(client4(UDP, udp(port, 53, Buffer.from('a question, long enough')))),
  };
}

/** As it comes over the network; the other host's clock shows another time. */
async function handed(from: TestPlane, to: TestPlane, spec: DispatchSpec): Promise<Inherited> {
  const { services, flows, time } = await from.memory(spec);
  const [first] = services;
  if (first === undefined) throw new Error('nothing is remembered');
  const packed = await packMemory({ ...first, epoch: 1 }, from.nowMs);
  const { birth, ring } = await unpackMemory(packed, to.nowMs);
  const { bytes } = changedFlows(flows.words, noFlows(), {
    from: 0,
    most: 9_999,
    refresh: 1,
    time,
  });
  const words = noFlows();
  takeFlows(words, bytes, flowTime(bootNs()));
  return { birth, ring, flows: { words, macs: flows.macs } };
}

async function draining(t: Test) {
  const plane = new TestPlane(t);
  const { open, go } = sendTo(plane);
  await plane.update(service(three));
  const at = new Map(old.map((port) => [port, open(port)]));
  await plane.update(service(drained));
  for (const port of old) go(port);
  for (const port of new_) {
    at.set(port, open(port));
    go(port);
  }
  return { plane, at };
}

const movedAt = (plane: TestPlane, at: ReadonlyMap<number, string>) =>
  [...at].filter(([port, to]) => sendTo(plane).go(port) !== to).map(([port]) => port);

test('the next dispatcher has every connection where it was while a member drains; by the table alone it has not', async (t) => {
  const { plane: first, at } = await draining(t);
  t.same(movedAt(first, at), []);
  const alone = new TestPlane(t);
  await alone.update(service(drained));
  const lost = movedAt(alone, at);
  t.ok(lost.length > 30, `${lost.length} by the table alone`);
  t.ok(lost.every((port) => at.get(port) === 'web1'));

  const next = new TestPlane(t);
  next.nowMs = 77_000_000;
  // IDs of members are each host's own.
  await next.update({
    ...service([member(7), member(3)]),
    service: 'other',
    mac: '02:00:00:00:ff:02',
  });
  await next.inherit(service(drained), await handed(first, next, service(drained)));
  t.same(movedAt(next, at), []);
  const opened = new Map(later.map((port) => [port, sendTo(next).open(port)]));
  t.notOk([...opened.values()].includes('web1'), 'who begins goes to nobody who drains');
  t.same(movedAt(next, opened), []);

  // And the one after that, of which a member has left meanwhile.
  const third = new TestPlane(t);
  const left = service([member(2), member(3)]);
  await third.inherit(left, await handed(next, third, service(drained)));
  t.same(movedAt(third, new Map([...at, ...opened])), []);
  await third.pass(60_001);
  const after = [...at].filter(([port, to]) => to === 'web1' && sendTo(third).go(port) === 'web1');
  t.same(after, [], 'the drain ends there as it would have here');
});

test('without records those that began in the drain go to whose the slot was; no other is lost', async (t) => {
  const { plane: first, at } = await draining(t);
  const next = new TestPlane(t);
  const { flows, ...inherited } = await handed(first, next, service(drained));
  await next.inherit(service(drained), { ...inherited, flows: { ...flows, words: noFlows() } });
  const moved = movedAt(next, at);
  t.ok(moved.length > 30);
  t.ok(moved.every((port) => port >= 30_000));
});

test('sticky UDP flows stay at the member they have, on the next dispatcher too', async (t) => {
  const sticky = (members: readonly DispatchMember[]) => service(members, { udpStickyMs: 60_000 });
  const first = new TestPlane(t);
  await first.update(sticky(three));
  const at = new Map(old.map((port) => [port, sendTo(first).ask(port)]));
  for (const port of old) sendTo(first).ask(port);
  const changed = sticky([...three, member(4)]);
  await first.update(changed);
  const next = new TestPlane(t);
  await next.inherit(changed, await handed(first, next, changed));
  t.same(
    old.filter((port) => sendTo(next).ask(port) !== at.get(port)),
    [],
  );
  const alone = new TestPlane(t);
  await alone.update(changed);
  t.ok(old.some((port) => sendTo(alone).ask(port) !== at.get(port)));
});

test('a memory with any byte changed is refused or one like it; whatever else is refused', async (t) => {
  const { plane } = await draining(t);
  const { services } = await plane.memory(service(drained));
  const [first] = services;
  if (first?.ring === undefined) throw new Error('nothing is remembered');
  const packed = await packMemory({ ...first, epoch: 1 }, plane.nowMs);
  t.comment(`${packed.length} bytes`);
  const sound = async (bytes: Buffer) => {
    const memory = await unpackMemory(bytes, 0).catch(() => undefined);
    const { ring } = memory ?? {};
    if (ring === undefined) return true;
    const isPlace = (place: number) => place < ring.places.length || place === 0xffff;
    return ring.slots.every(isPlace) && ring.previous.every(isPlace);
  };
  await fc.assert(
    fc.asyncProperty(fc.nat(packed.length - 1), fc.nat(255), (where, what) => {
      const bytes = Buffer.from(packed);
      bytes[where] = what;
      return sound(bytes);
    }),
    { numRuns: 60 },
  );
  await fc.assert(
    fc.asyncProperty(fc.uint8Array({ maxLength: 200 }), async (bytes) => {
      const [plain, deflated] = [Buffer.from(bytes), deflateRawSync(bytes)];
      return (await sound(plain)) && (await sound(deflated));
    }),
  );
  await t.rejects(unpackMemory(deflateRawSync(Buffer.alloc(50_000_000)), 0), 'a bomb');
  const ring = { ...first.ring, slots: first.ring.slots.map(() => 3) };
  await t.rejects(unpackMemory(await packMemory({ ...first, epoch: 1, ring }, 0), 0), /slot 0/);
});
