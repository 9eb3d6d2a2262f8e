import fc from 'fast-check';
import { test } from 'tap';
import { choose, chooser } from '../../src/dispatch/choose.js';
import { mostExactMembers } from '../../src/dispatch/rendezvous.js';
import { siphash } from '../../src/dispatch/siphash.js';
import {
  buildTable,
  keyOf,
  movedSlots,
  noMember,
  slotCount,
  slotsByMember,
} from '../../src/dispatch/table.js';
import type { DispatchMember, DispatchSpec } from '../../src/dispatch/types.js';

const member = (number: number, weight = 1, healthy = true): DispatchMember => ({
  personality: `web${number}`,
  mac: `02:00:00:00:${(number >> 8).toString(16).padStart(2, '0')}:${(number & 255).toString(16).padStart(2, '0')}`,
  weight,
  healthy,
});
const members = (count: number) => Array.from({ length: count }, (_, at) => member(at + 1));
const spec = (
  list: readonly DispatchMember[],
  seed = '000102030405060708090a0b0c0d0e0f',
): DispatchSpec => ({
  service: 'web',
  namespace: 'svc-web',
  incarnation: 1,
  mac: '02:00:00:00:ff:01',
  addresses: ['10.10.0.100', 'fd00::100'],
  ports: [{ protocol: 'tcp', first: 80, last: 80 }],
  hash: 'source-ip-port',
  members: list,
  seed,
});

test('the hash is SipHash', (t) => {
  const key = Buffer.from('000102030405060708090a0b0c0d0e0f', 'hex');
  const message = (length: number) => Buffer.from(Array.from({ length }, (_, at) => at));
  const hex = (hash: { high: number; low: number }) =>
    (BigInt(hash.high) * 2n ** 32n + BigInt(hash.low)).toString(16).padStart(16, '0');
  // SipHash-2-4: vectors of the authors' reference implementation.
  t.equal(hex(siphash(key, message(0), 2, 4)), '726fdb47dd0e0e31');
  t.equal(hex(siphash(key, message(1), 2, 4)), '74f839c593dc67fd');
  t.equal(hex(siphash(key, message(8), 2, 4)), '93f5f5799a932462');
  t.equal(hex(siphash(key, message(15), 2, 4)), 'a129ca6149be45e5');
  t.equal(hex(siphash(key, message(63), 2, 4)), '958a324ceb064572');
  // SipHash-1-3 with a key of zeros: vectors that OCaml's runtime is tested with.
  t.equal(hex(siphash(Buffer.alloc(16), message(0))), 'd1fba762150c532c');
  t.equal(hex(siphash(Buffer.alloc(16), message(1))), '68a914128e01e473');
  t.end();
});

test('every slot is dealt, and shares follow the weights', (t) => {
  const even = slotsByMember(spec(members(9)));
  t.same([...new Set(even.values())].sort(), [7281, 7282], 'many members: as even as can be');
  const weighted = slotsByMember(spec([member(1, 1), member(2, 2), member(3, 5)]));
  t.equal(
    [...weighted.values()].reduce((sum, count) => sum + count, 0),
    slotCount,
  );
  for (const [name, share] of [
    ['web1', 1 / 8],
    ['web2', 2 / 8],
    ['web3', 5 / 8],
  ] as const) {
    const part = (weighted.get(name) ?? 0) / slotCount;
    t.ok(Math.abs(part / share - 1) < 0.03, `${name} has ${part}, wants ${share}`);
  }
  t.end();
});

test('who is down, draining or has no MAC yet gets no slot; nobody left, no slots', (t) => {
  const list = [member(1), member(2, 0), member(3, 1, false), { ...member(4), mac: '' }];
  t.same(Object.fromEntries(slotsByMember(spec(list))), {
    web1: slotCount,
    web2: 0,
    web3: 0,
    web4: 0,
  });
  const nobody = spec(list.slice(1));
  t.ok(buildTable(nobody).slots.every((slot) => slot === noMember));
  const flow = { address: '10.0.0.1', port: 1, protocol: 'tcp', servicePort: 80 } as const;
  t.equal(choose(nobody, flow), undefined);
  t.same([...slotsByMember(spec([])).keys()], []);
  t.end();
});

test('the order of members in the file changes nothing', (t) => {
  fc.assert(
    fc.property(fc.shuffledSubarray(members(9), { minLength: 1 }), fc.nat(), (list, turn) => {
      const turned = [...list.slice(turn % list.length), ...list.slice(0, turn % list.length)];
      const [one, other] = [buildTable(spec(list)), buildTable(spec(turned))];
      return Buffer.compare(Buffer.from(one.slots.buffer), Buffer.from(other.slots.buffer)) === 0;
    }),
    { numRuns: 25 },
  );
  t.end();
});

test('a member that comes or goes moves its own share; with many members little more', (t) => {
  for (const count of [2, 3, 8, 16, 100]) {
    const all = spec(members(count));
    const down = spec(
      members(count).map((at, index) => (index === 0 ? { ...at, healthy: false } : at)),
    );
    const own = slotsByMember(all).get('web1') ?? 0;
    const more = movedSlots(all, down) - own;
    if (count <= mostExactMembers) t.equal(more, 0, `${count} members: its own and no other`);
    else t.ok(more >= 0 && more < slotCount * 0.007, `${count} members: ${more} more than ${own}`);
  }
  t.equal(movedSlots(spec(members(3)), spec(members(3))), 0);
  t.end();
});

test('a weight that changes moves the difference and no other, with few members', (t) => {
  const before = spec([member(1, 2), member(2, 2), member(3, 1)]);
  const after = spec([member(1, 2), member(2, 2), member(3, 3)]);
  const gained = (slotsByMember(after).get('web3') ?? 0) - (slotsByMember(before).get('web3') ?? 0);
  t.equal(movedSlots(before, after), gained);
  t.end();
});

test('another seed is another slot for a client; the table is the same for all', (t) => {
  const [one, other] = [spec(members(3)), spec(members(3), 'ff0102030405060708090a0b0c0d0e0f')];
  t.same(buildTable(one).slots, buildTable(other).slots);
  const flow = { address: '10.0.0.1', port: 1, protocol: 'tcp', servicePort: 80 } as const;
  t.not(choose(one, flow)?.slot, choose(other, flow)?.slot);
  t.end();
});

test('a seed that is none, or too many members, is refused', (t) => {
  t.throws(() => keyOf(spec(members(1), '')), { code: 'US_DISPATCH_SPEC' });
  t.throws(() => buildTable(spec(members(1025))), { code: 'US_DISPATCH_SPEC' });
  t.end();
});

test('source-ip: a client stays on its member whatever the ports; whole packets and fragments agree', (t) => {
  const byAddress: DispatchSpec = { ...spec(members(5)), hash: 'source-ip' };
  const flow = { address: 'fd00::7', port: 40_001, protocol: 'tcp', servicePort: 80 } as const;
  const first = choose(byAddress, flow);
  t.same(choose(byAddress, { ...flow, port: 7, protocol: 'udp', servicePort: 53 }), first);
  t.same(choose(byAddress, { ...flow, fragment: true }), first);
  t.same(choose(spec(members(5)), { ...flow, fragment: true })?.slot, first?.slot);
  t.end();
});

test('ports of one client are shared out by weight', (t) => {
  const counts = new Map<string, number>();
  const chosen = chooser(spec([member(1), member(2), member(3, 2)]));
  for (let port = 1; port <= 10_000; port += 1) {
    const flow = { address: '10.0.0.1', port, protocol: 'tcp', servicePort: 80 } as const;
    const name = chosen(flow)?.member ?? '';
    counts.set(name, (counts.get(name) ?? 0) + 1);
  }
  for (const [name, share] of [
    ['web1', 2_500],
    ['web2', 2_500],
    ['web3', 5_000],
  ] as const) {
    const count = counts.get(name) ?? 0;
    t.ok(Math.abs(count - share) < share * 0.05, `${name} has ${count} of 10000`);
  }
  t.end();
});
