import fc from 'fast-check';
import tap, { test } from 'tap';
import { type ClientFlow, chooser } from '../../src/dispatch/choose.js';
import {
  Dice,
  type Dress,
  frameOf,
  leastBytes,
  modes,
  serviceOf,
  servicePorts,
} from './any-frames.js';
import { garbageAddsUp } from './garbage.js';
import { mac } from './packets.js';
import { entries, TestPlane } from './plane.js';

tap.setTimeout(120_000);
const runs = 400;
const garbageFrames = 4_000;

const byte = fc.integer({ min: 0, max: 255 });
const ipv4 = fc.tuple(byte, byte, byte).map(([a, b, c]) => `10.${a}.${b}.${c}`);
const ipv6 = fc
  .array(fc.integer({ min: 0, max: 0xffff }), { minLength: 6, maxLength: 6 })
  .map((words) => `fd00:0:${words.map((word) => word.toString(16)).join(':')}`);
const flow: fc.Arbitrary<ClientFlow> = fc
  .record({
    address: fc.oneof(ipv4, ipv6),
    port: fc.integer({ min: 1, max: 0xffff }),
    protocol: fc.constantFrom('tcp' as const, 'udp' as const),
    which: fc.nat(10),
  })
  .map(({ which, ...rest }) => {
    const ports = servicePorts[rest.protocol];
    return { ...rest, servicePort: ports[which % ports.length] ?? 0 };
  });
const dress: fc.Arbitrary<Dress> = fc.record({
  kind: fc.constantFrom('plain', 'plain', 'error', 'fragment'),
  extras: fc.array(fc.nat(11), { maxLength: 6 }),
  flags: byte,
  payload: fc.uint8Array({ maxLength: 64 }),
});

test('whatever packet of a flow comes, it goes to the member that `which` names', async (t) => {
  const plane = new TestPlane(t);
  const specs = modes.map(serviceOf);
  await plane.update(...specs);
  const services = specs.map((spec) => ({ spec, choose: chooser(spec) }));
  const property = fc.property(
    fc.constantFrom(...services),
    fc.constantFrom(...entries),
    flow,
    dress,
    ({ spec, choose }, entry, client, worn) => {
      const frame = frameOf(spec, client, worn);
      const fragment = worn.kind === 'fragment';
      const wanted = choose({ ...client, fragment })?.mac ?? '';
      const ran = plane.run(frame, entry);
      const changed = Buffer.concat([mac(wanted), mac(spec.mac), frame.subarray(12)]);
      return ran.did === 'forward' && ran.frame.equals(changed);
    },
  );
  t.doesNotThrow(() => fc.assert(property, { numRuns: runs * modes.length }));
});

test('a packet that is cut off anywhere is not taken for another flow’s', async (t) => {
  const plane = new TestPlane(t);
  const spec = serviceOf('source-ip-port');
  await plane.update(spec);
  const property = fc.property(fc.constantFrom(...entries), flow, dress, (entry, client, worn) => {
    const frame = frameOf(spec, client, { ...worn, kind: 'plain', payload: new Uint8Array(0) });
    for (let length = leastBytes(entry, frame); length < frame.length; length += 1) {
      const { did } = plane.run(frame.subarray(0, length), entry);
      if (did === 'forward' || did === 'other') return false;
    }
    return true;
  });
  t.doesNotThrow(() => fc.assert(property, { numRuns: 25 }));
});

test('of garbage nothing is lost track of, and what is not sent on is left as it was', async (t) => {
  const seed = Math.floor(Math.random() * 2 ** 31);
  t.comment(`seed ${seed}`);
  const plane = new TestPlane(t);
  const specs = modes.map(serviceOf);
  await plane.update(...specs);
  const problems = garbageAddsUp(plane, specs, new Dice(seed), garbageFrames);
  t.same(problems, []);
});
