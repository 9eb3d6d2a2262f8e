import { setTimeout as wait } from 'node:timers/promises';
import { test } from 'tap';
import type { HashMode } from '../../src/config/types.js';
import { chooser } from '../../src/dispatch/choose.js';
import type { DispatchSpec } from '../../src/dispatch/types.js';
import { bootNs } from '../../src/ffi/clock.js';
import { be16, ethernet, ipv4, mac, tcp } from './packets.js';
import { type Entry, entries, TestPlane } from './plane.js';
import {
  cases,
  client4,
  client6,
  type Expected,
  gateway,
  TCP,
  UDP,
  v4,
  vmac,
  web,
} from './program-cases.js';

function service(hash: HashMode = 'source-ip-port', healthy = true): DispatchSpec {
  return {
    service: 'web',
    namespace: 'svc-web',
    incarnation: 1,
    mac: vmac,
    addresses: ['10.10.0.100', 'fd00::100'],
    ports: [
      { protocol: 'tcp', first: 80, last: 80 },
      { protocol: 'tcp', first: 443, last: 445 },
      { protocol: 'udp', first: 2049, last: 2049 },
    ],
    hash,
    members: [1, 2, 3].map((number) => ({
      personality: `web${number}`,
      mac: `02:00:00:00:00:0${number}`,
      weight: number,
      healthy,
    })),
    seed: '0f1e2d3c4b5a69788796a5b4c3d2e1f0',
  };
}

/** In the VLAN, as a NIC hands it over that leaves tags on. */
const tagged = (frame: Buffer, vlan: number, type = 0x8100) =>
  Buffer.concat([frame.subarray(0, 12), be16(type, vlan), frame.subarray(12)]);

const settings: readonly {
  readonly name: string;
  readonly entry: Entry;
  readonly vlan: number;
  readonly wrap: (frame: Buffer) => Buffer;
}[] = [
  { name: 'tc on its own NIC', entry: 'tc', vlan: 100, wrap: (frame) => frame },
  { name: 'tc, priority tag', entry: 'tc', vlan: 100, wrap: (frame) => tagged(frame, 0xe000) },
  { name: 'XDP, untagged', entry: 'xdp', vlan: 0, wrap: (frame) => frame },
  { name: 'XDP on a trunk', entry: 'xdp', vlan: 100, wrap: (frame) => tagged(frame, 0x6064) },
];

for (const { name: setting, entry, vlan, wrap } of settings) {
  test(`${setting}: each frame goes where it should, changed in its MACs only`, async (t) => {
    const plane = new TestPlane(t);
    const spec = { ...service(), vlan };
    const choose = chooser(spec);
    await plane.update(spec);
    const wanted = (frame: Buffer, expected: Expected) => {
      if (typeof expected === 'string') {
        return { did: expected.startsWith('drop') ? 'drop' : 'pass', frame };
      }
      const defaults = { address: '', port: 40001, protocol: 'tcp', servicePort: 80 } as const;
      const choice = choose({ ...defaults, ...expected });
      return {
        did: 'forward',
        frame: Buffer.concat([mac(choice?.mac ?? ''), mac(vmac), frame.subarray(12)]),
      };
    };
    for (const [name, plain, expected] of cases) {
      const frame = wrap(plain);
      const before = plane.counters();
      const ran = plane.run(frame, entry);
      const after = plane.counters();
      t.same(ran, wanted(frame, expected), name);
      t.equal(after.received - before.received, expected === 'foreign' ? 0 : 1, `${name}: counted`);
      const ended = expected === 'stack' ? 'passed' : String(expected).replace('drop ', '');
      const outcome = (counters: typeof after) =>
        ended === 'passed' ? counters.passed : (counters.dropped[ended] ?? 0);
      if (typeof expected === 'string' && expected !== 'foreign') {
        t.equal(outcome(after) - outcome(before), 1, `${name}: as ${ended}`);
      }
    }
    const ours = cases.filter(([, , expected]) => expected !== 'foreign').length;
    t.equal(plane.counters().received, ours, 'each was counted once');
  });
}

test('bytes and new flows are counted by member', async (t) => {
  const plane = new TestPlane(t);
  await plane.update(service('source-ip'));
  const syn = client4(TCP, tcp(40001, 80, '', 0x02));
  const ack = client4(TCP, tcp(40001, 80, 'GET', 0x10));
  for (const frame of [syn, ack, ack]) plane.run(frame);
  const counted = plane.counters().forwarded.filter(({ packets }) => packets > 0);
  const bytes = syn.length + 2 * ack.length;
  t.match(counted, [{ packets: 3, bytes, newFlows: 1 }]);
  t.equal(counted.length, 1);
});

test('a frame of another VLAN, or with two tags, is another network’s', async (t) => {
  const plane = new TestPlane(t);
  const frame = client4(TCP, web);
  const foreign = (entry: Entry, wrapped: Buffer, name: string) => {
    t.same(plane.run(wrapped, entry), { did: 'pass', frame: wrapped }, name);
    t.equal(plane.counters().received, 0, `${name}: not counted`);
  };
  await plane.update({ ...service(), vlan: 100 });
  foreign('xdp', frame, 'untagged on the trunk');
  foreign('xdp', tagged(frame, 101), 'another VLAN');
  foreign('xdp', tagged(tagged(frame, 100), 100), 'two tags');
  foreign('xdp', tagged(frame, 100, 0x88a8), 'a provider’s tag');
  foreign('tc', tagged(frame, 100), 'a tag where there is to be none');
  await plane.update(service());
  foreign('xdp', tagged(frame, 100), 'a tag on an untagged network');
});

test('a member on this host is the stack’s to deliver, after the rewrite', async (t) => {
  const plane = new TestPlane(t);
  const spec = service();
  await plane.update({
    ...spec,
    members: spec.members.map((member) => ({ ...member, here: true })),
  });
  const { did, frame } = plane.run(client4(TCP, web), 'xdp');
  const choice = chooser(spec)({
    address: '10.10.0.200',
    port: 40001,
    protocol: 'tcp',
    servicePort: 80,
  });
  t.equal(did, 'pass');
  t.same(frame.subarray(0, 12), Buffer.concat([mac(choice?.mac ?? ''), mac(vmac)]));
  t.equal(plane.run(client4(TCP, web), 'tc').did, 'forward', 'its own NIC delivers to both');
});

test('what another dispatcher sent is not dispatched again', async (t) => {
  const plane = new TestPlane(t);
  const other = '02:00:00:00:ff:99';
  const header = { from: '10.10.0.200', to: '10.10.0.100', protocol: TCP };
  const frame = ethernet(vmac, other, v4, ipv4(header, web));
  await plane.update(service());
  for (const entry of entries) t.equal(plane.run(frame, entry).did, 'forward', 'not known');
  await plane.update({ ...service(), otherDispatchers: [other] });
  for (const entry of entries) t.same(plane.run(frame, entry), { did: 'drop', frame });
  t.equal(plane.counters().dropped.loop, 2);
});

test('without a lease nothing is sent on; before the deadline it is over', async (t) => {
  const plane = new TestPlane(t, 0n);
  await plane.update(service());
  const frame = client4(TCP, web);
  for (const entry of entries) t.equal(plane.run(frame, entry).did, 'drop', 'never held');
  // The clock is read once a tick; one has passed after 10 ms at the slowest.
  const set = async (deadlineNs: bigint) => {
    plane.setLease(deadlineNs);
    await wait(25);
  };
  await set(bootNs() + 30_000_000n);
  for (const entry of entries) t.equal(plane.run(frame, entry).did, 'drop', 'over, or as good as');
  t.equal(plane.counters().dropped.lease, 4);
  await set(bootNs() + 60_000_000_000n);
  for (const entry of entries) t.equal(plane.run(frame, entry).did, 'forward', 'held');
});

test('with no member that is up, packets are dropped and counted', async (t) => {
  const plane = new TestPlane(t);
  await plane.update(service('source-ip', false));
  const frame = client4(TCP, web);
  for (const entry of entries) t.same(plane.run(frame, entry), { did: 'drop', frame });
  t.equal(plane.counters().dropped['no-member'], 2);
  await plane.update(service('source-ip'));
  t.equal(plane.run(frame).did, 'forward');
});

test('a service of one family or protocol leaves the rest to the stack', async (t) => {
  const plane = new TestPlane(t);
  const only4 = { ...service(), addresses: ['10.10.0.100'], ports: service().ports.slice(0, 1) };
  await plane.update(only4);
  for (const entry of entries) {
    t.equal(plane.run(client4(TCP, web), entry).did, 'forward');
    t.equal(plane.run(client6(TCP, web), entry).did, 'pass');
    const fragment = client4(UDP, Buffer.alloc(16), { fragment: 5 });
    t.equal(plane.run(fragment, entry).did, 'pass');
  }
});

test('services side by side have their own ports, members and counters', async (t) => {
  const plane = new TestPlane(t);
  const mail: DispatchSpec = {
    ...service(),
    service: 'mail',
    mac: '02:00:00:00:ff:02',
    addresses: ['10.10.0.101'],
    ports: [{ protocol: 'tcp', first: 25, last: 25 }],
    members: [
      { personality: 'mail1', mac: '02:00:00:00:01:01', weight: 1, healthy: true },
      { personality: 'mail2', mac: '02:00:00:00:01:02', weight: 1, healthy: true },
    ],
  };
  await plane.update(service(), mail);
  const header = { from: '10.10.0.200', to: '10.10.0.101', protocol: TCP };
  const letter = ethernet(mail.mac, gateway, v4, ipv4(header, tcp(40001, 25)));
  const flow = { address: '10.10.0.200', port: 40001, protocol: 'tcp', servicePort: 25 } as const;
  const { frame } = plane.run(letter);
  t.same(frame.subarray(0, 6), mac(chooser(mail)(flow)?.mac ?? ''));
  t.equal(plane.run(client4(TCP, web)).did, 'forward');
  t.equal(plane.run(client4(TCP, tcp(40001, 25))).did, 'pass', 'not a port of web');
  t.equal(plane.counters('mail').received, 1);
  t.equal(plane.counters('web').received, 2);
  await plane.remove('web');
  t.equal(plane.run(client4(TCP, web)).did, 'pass');
  t.equal(plane.run(letter).did, 'forward');
});

test('services with the same members share a ring, also through changes', async (t) => {
  const plane = new TestPlane(t);
  const specs = Array.from({ length: 40 }, (_, number) => ({
    ...service(),
    service: `web${number}`,
    mac: `02:00:00:00:fe:${number.toString(16).padStart(2, '0')}`,
    addresses: [`10.10.1.${number}`],
    seed: number.toString(16).padStart(32, 'a'),
  }));
  await plane.update(...specs);
  t.equal(plane.plane.layout.rings.size, 1);
  const changed = specs.map((spec) => ({ ...spec, members: spec.members.slice(0, 2) }));
  const [first, ...rest] = changed;
  if (first !== undefined) await plane.update(first);
  t.equal(plane.plane.layout.rings.size, 2);
  await plane.update(...rest);
  t.ok(plane.plane.layout.rings.size <= 2);
  for (const { mac: to, addresses } of specs) {
    const header = { from: '10.10.0.200', to: addresses[0] ?? '', protocol: TCP };
    t.equal(plane.run(ethernet(to, gateway, v4, ipv4(header, web))).did, 'forward');
  }
});

test('a member keeps its counters while others come and go', async (t) => {
  const plane = new TestPlane(t);
  const spec = service('source-ip');
  const only = (...names: readonly string[]) => ({
    ...spec,
    members: spec.members.filter(({ personality }) => names.includes(personality)),
  });
  const packets = () =>
    Object.fromEntries(plane.counters().forwarded.map((each) => [each.personality, each.packets]));
  await plane.update(only('web2'));
  plane.run(client4(TCP, web));
  t.same(packets(), { web2: 1 });
  t.equal(await plane.update(only('web2')), false, 'nothing to do');
  t.equal(await plane.update(only('web1')), true);
  await plane.pass(300_000);
  plane.run(client4(TCP, web));
  await plane.update(only('web2', 'web3'));
  t.same(packets(), { web1: 1, web2: 1, web3: 0 });
});

test('what cannot be dispatched is refused and changes nothing', async (t) => {
  const plane = new TestPlane(t);
  await plane.update(service());
  const scattered = Array.from({ length: 33 }, (_, at) => ({
    protocol: 'tcp' as const,
    first: 1000 + at * 2,
    last: 1000 + at * 2,
  }));
  const wrong: readonly Partial<DispatchSpec>[] = [
    { seed: '' },
    { mac: '' },
    { addresses: ['10.10.0.100', '10.10.0.101'] },
    { addresses: ['web'] },
    { ports: scattered },
  ];
  for (const part of wrong) {
    t.throws(() => plane.update({ ...service(), ...part }), { code: 'US_DISPATCH_SPEC' });
  }
  t.equal(plane.run(client4(TCP, web)).did, 'forward');
});
