import fc from 'fast-check';
import tap, { test } from 'tap';
import { slowStartSteps, startingWeight } from '../../src/control/slow-start.js';
import { chooser } from '../../src/dispatch/choose.js';
import { isTracked } from '../../src/dispatch/ring.js';
import type { DispatchMember, DispatchSpec } from '../../src/dispatch/types.js';
import { icmp, ipv4, tcp, udp } from './packets.js';
import { TestPlane } from './plane.js';
import { client4, ICMP, TCP, UDP, vmac } from './program-cases.js';

tap.setTimeout(180_000);
const [SYN, ACK] = [0x02, 0x10];
const drainMs = 60_000;

const member = (number: number, weight = 1, healthy = true): DispatchMember => ({
  personality: `web${number}`,
  mac: `02:00:00:00:00:${number.toString(16).padStart(2, '0')}`,
  weight,
  healthy,
});

function service(
  members: readonly DispatchMember[],
  more: Partial<DispatchSpec> = {},
): DispatchSpec {
  return {
    service: 'web',
    namespace: 'svc-web',
    incarnation: 1,
    mac: vmac,
    addresses: ['10.10.0.100', 'fd00::100'],
    ports: [
      { protocol: 'tcp', first: 20, last: 21 },
      { protocol: 'tcp', first: 80, last: 80 },
      { protocol: 'udp', first: 53, last: 53 },
    ],
    hash: 'source-ip-port',
    members,
    seed: '0f1e2d3c4b5a69788796a5b4c3d2e1f0',
    drainMs,
    ...more,
  };
}

const ports = (count: number) => Array.from({ length: count }, (_, at) => 10_000 + at * 7);

/** Connections of one client to a plane, by their source port. */
class Connections {
  readonly #plane: TestPlane;
  readonly members = new Map<number, string>();

  constructor(plane: TestPlane) {
    this.#plane = plane;
  }

  send(frame: Buffer): string {
    const { did, frame: out } = this.#plane.run(frame);
    return did === 'forward' ? `web${out[5]}` : did;
  }

  open(port: number): string {
    const to = this.send(client4(TCP, tcp(port, 80, '', SYN)));
    this.members.set(port, to);
    return to;
  }

  go(port: number): string {
    return this.send(client4(TCP, tcp(port, 80, 'GET', ACK)));
  }

  /** Those whose next packet goes to another member than the first one did. */
  broken(): string[] {
    return [...this.members].flatMap(([port, to]) => {
      const now = this.go(port);
      return now === to ? [] : [`${port}: ${to} → ${now}`];
    });
  }
}

async function opened(plane: TestPlane, spec: DispatchSpec, count = 300): Promise<Connections> {
  await plane.update(spec);
  const connections = new Connections(plane);
  for (const port of ports(count)) connections.open(port);
  return connections;
}

const three = [member(1), member(2), member(3)];
const changes: readonly (readonly [string, readonly (readonly DispatchMember[])[]])[] = [
  ['a drain', [[member(1, 0), member(2), member(3)]]],
  ['a member removed', [[member(2), member(3)]]],
  ['a member added', [[...three, member(4)]]],
  ['another weight', [[member(1, 5), member(2), member(3)]]],
  [
    'a drain, then a member added',
    [
      [member(1, 0), member(2), member(3)],
      [...three.slice(1), member(4)],
    ],
  ],
  [
    'two drains',
    [
      [member(1, 0), member(2), member(3)],
      [member(1, 0), member(2, 0), member(3)],
    ],
  ],
  ['a drain taken back', [[member(1, 0), member(2), member(3)], three]],
  ['from the exact table to Maglev’s', [[...three, ...[4, 5, 6, 7, 8, 9].map((at) => member(at))]]],
  ['everybody drains', [[member(1, 0), member(2, 0), member(3, 0)]]],
];

for (const [name, steps] of changes) {
  test(`established connections stay: ${name}`, async (t) => {
    const plane = new TestPlane(t);
    const connections = await opened(plane, service(three));
    for (const members of steps) {
      const spec = service(members);
      await plane.update(spec);
      t.same(connections.broken(), []);
      // Those that begin now go by the new table at once, and stay as well.
      const chosen = chooser(spec);
      for (const port of ports(100).map((at) => at + 1 + members.length)) {
        const flow = { address: '10.10.0.200', port, protocol: 'tcp', servicePort: 80 } as const;
        const wanted = chosen(flow)?.member;
        if (connections.open(port) === wanted) continue;
        if (wanted === undefined) connections.members.delete(port);
        else t.fail(`${port} is not at ${wanted}`);
      }
      t.same(connections.broken(), []);
      await plane.pass(drainMs / 4);
      t.same(connections.broken(), []);
    }
  });
}

test('a member comes back step by step: nobody leaves a member, however late they began', async (t) => {
  const plane = new TestPlane(t);
  const others = [member(2), member(3)];
  const connections = await opened(plane, service([member(1, 1, false), ...others]));
  for (let step = 1; step <= slowStartSteps; step += 1) {
    await plane.pass(20_000);
    await plane.update(service([member(1, startingWeight(1, step)), ...others]));
    t.same(connections.broken(), [], `step ${step}`);
    for (const port of ports(100)) connections.open(port + step);
  }
  t.same(connections.broken(), []);
  t.ok([...connections.members.values()].includes('web1'), 'and it has got some');
});

test('a drain ends: what is left goes to others, and nothing is looked up any more', async (t) => {
  const plane = new TestPlane(t);
  const connections = await opened(plane, service(three));
  const tracked = () => {
    const [placed] = [...plane.plane.layout.rings.values()];
    return placed?.ring.slots.filter((_, slot) => placed && isTracked(placed.ring, slot)).length;
  };
  t.equal(tracked(), 0);
  await plane.update(service([member(1, 0), member(2), member(3)]));
  t.ok((tracked() ?? 0) > 20_000 && (tracked() ?? 0) < 23_000, `${tracked()} slots: a third`);
  await plane.pass(drainMs - 1);
  t.same(connections.broken(), []);
  await plane.pass(1);
  const left = [...connections.members].filter(([, to]) => to === 'web1').length;
  t.ok(left > 50);
  t.equal(connections.broken().length, left, 'those of the drained member alone');
  t.equal(tracked(), 0);
});

test('what was seen while a member was added stays for long, also after the window', async (t) => {
  const plane = new TestPlane(t);
  const connections = await opened(plane, service(three));
  await plane.update(service([...three, member(4)]));
  t.same(connections.broken(), []);
  await plane.pass(drainMs * 20);
  t.same(connections.broken(), []);
});

test('a member that is down loses its flows at once, the others keep theirs', async (t) => {
  const plane = new TestPlane(t);
  const connections = await opened(plane, service(three));
  await plane.update(service([member(1, 1, false), member(2), member(3)]));
  const lost = [...connections.members].filter(([, to]) => to === 'web1').map(([port]) => port);
  t.equal(connections.broken().length, lost.length);
  for (const port of lost) {
    t.not(connections.go(port), 'web1');
    connections.open(port);
  }
  await plane.update(service(three));
  t.same(connections.broken(), [], 'begun elsewhere while it was down: they stay there');
});

test('an error finds the member that a tracked flow is at, and leaves no trace', async (t) => {
  const plane = new TestPlane(t);
  const connections = await opened(plane, service(three));
  await plane.update(service([member(1, 0), member(2), member(3)]));
  const quote = (port: number) => {
    const from = { from: '10.10.0.100', to: '10.10.0.200', protocol: TCP };
    return client4(ICMP, icmp(3, ipv4(from, tcp(80, port))), { from: '192.0.2.1' });
  };
  for (const [port, to] of connections.members) {
    if (connections.send(quote(port)) !== to) t.fail(`${port}: not to ${to}`);
  }
  t.same(connections.broken(), []);
});

test('in mode source-ip a client’s connections stay together through a drain', async (t) => {
  const plane = new TestPlane(t);
  await plane.update(service(three, { hash: 'source-ip' }));
  const connections = new Connections(plane);
  const at = connections.open(40_000);
  const drained = three.map((each) => (each.personality === at ? { ...each, weight: 0 } : each));
  await plane.update(service(drained, { hash: 'source-ip' }));
  t.equal(connections.go(40_000), at, 'the control connection');
  const data = connections.send(client4(TCP, tcp(40_001, 20, '', SYN)));
  t.equal(data, at, 'a data connection that begins now');
  const stranger = client4(TCP, tcp(40_000, 21, '', SYN), { from: '10.10.0.201' });
  t.not(connections.send(stranger), at, 'another client');
});

test('a flood of SYNs while slots move breaks no established connection', async (t) => {
  const plane = new TestPlane(t);
  const connections = await opened(plane, service(three), 400);
  await plane.update(service([member(1, 0), member(2), member(3)]));
  t.same(connections.broken(), []);
  const begun = ports(200).map((port) => port + 3);
  for (const port of begun) connections.open(port);
  t.same(connections.broken(), []);
  for (let flood = 0; flood < 60_000; flood += 1) {
    const from = `11.${flood & 255}.${(flood >> 8) & 255}.${flood >> 16}`;
    plane.run(client4(TCP, tcp(1_024 + (flood % 5), 80, '', SYN), { from }));
  }
  t.same(connections.broken(), []);
});

test('UDP goes by the table at once, unless the service wants it sticky', async (t) => {
  const plane = new TestPlane(t);
  const connections = new Connections(plane);
  const ask = (port: number) => connections.send(client4(UDP, udp(port, 53)));
  const asked = () => new Map(ports(300).map((port) => [port, ask(port)]));
  const moved = (before: ReadonlyMap<number, string>) =>
    [...before].filter(([port, to]) => ask(port) !== to).length;
  const drained = [member(1, 0), member(2), member(3)];

  await plane.update(service(three));
  const loose = asked();
  await plane.update(service(drained));
  t.equal(moved(loose), [...loose.values()].filter((to) => to === 'web1').length);

  const sticky = { udpStickyMs: 30_000 };
  await plane.update(service(three, sticky));
  await plane.pass(drainMs);
  const kept = asked();
  t.equal(
    plane.counters().forwarded.reduce((sum, { newFlows }) => sum + newFlows, 0),
    300,
  );
  await plane.update(service(drained, sticky));
  t.equal(moved(kept), 0, 'they stay');
  await plane.pass(drainMs);
  t.equal(
    moved(kept),
    [...kept.values()].filter((to) => to === 'web1').length,
    'the drain is over',
  );
});

test('recorded flows of a member that left and came back draining stay', async (t) => {
  const plane = new TestPlane(t);
  const connections = await opened(plane, service(three), 60);
  await plane.update(service([member(3)]));
  t.same(connections.broken(), []);
  for (const port of ports(60)) connections.open(port + 1);
  t.same(connections.broken(), []);
  await plane.update(service([member(1, 0), member(2, 0), member(3, 0), member(6)]));
  t.same(connections.broken(), []);
});

test('a port that is used again between two drains is a new connection', async (t) => {
  const plane = new TestPlane(t);
  const connections = await opened(plane, service(three));
  const drained = service([member(1, 0), member(2), member(3)]);
  await plane.update(drained);
  t.same(connections.broken(), [], 'recorded');
  await plane.pass(drainMs);
  await plane.update(service(three));
  await plane.pass(drainMs + 86_400_000);
  for (const port of ports(300)) connections.open(port);
  await plane.update(drained);
  t.same(connections.broken(), []);
});

test('a service that went and came back has no records of before', async (t) => {
  const plane = new TestPlane(t);
  const connections = await opened(plane, service(three));
  const drained = service([member(1, 0), member(2), member(3)]);
  await plane.update(drained);
  t.same(connections.broken(), [], 'recorded');
  await plane.remove('web');
  await plane.update(service([member(2), member(3)]));
  for (const port of ports(300)) connections.open(port);
  await plane.update(service([member(1), member(2), member(3)]));
  t.same(connections.broken(), []);
});

test('any changes in a row: no flow leaves a member that may keep it', async (t) => {
  const change = fc.record({
    weights: fc.array(fc.integer({ min: 0, max: 3 }), { minLength: 6, maxLength: 6 }),
    down: fc.integer({ min: 0, max: 12 }),
    present: fc.integer({ min: 1, max: 63 }),
    passMs: fc.integer({ min: 0, max: drainMs - 1 }),
  });
  const story = fc.array(change, { minLength: 1, maxLength: 6 });
  const plane = new TestPlane(t);
  let round = 0;
  await fc.assert(
    fc.asyncProperty(story, async (steps) => {
      round += 1;
      const name = `web-${round}`;
      const mac = `02:00:00:00:ff:01`;
      const spec = (members: readonly DispatchMember[]) => service(members, { service: name, mac });
      const connections = new Connections(plane);
      const whole = () => {
        const broken = connections.broken();
        if (broken.length > 0) throw new Error(broken.join('; '));
      };
      await plane.update(spec(three));
      /** Since when each member drains. */
      const drains = new Map<string, number>();
      let port = 1_024;
      const begin = () => {
        for (let count = 0; count < 30; count += 1, port += 1) {
          if (connections.open(port) === 'drop') connections.members.delete(port);
        }
      };
      begin();
      let before: readonly DispatchMember[] = three;
      try {
        for (const { weights, down, present, passMs } of steps) {
          const members = weights.flatMap((weight, at) =>
            (present >> at) & 1 ? [member(at + 1, weight, down !== at)] : [],
          );
          const takes = (list: readonly DispatchMember[]) =>
            new Set(
              list
                .filter((each) => each.healthy && each.weight > 0)
                .map((each) => each.personality),
            );
          for (const each of takes(before))
            if (!takes(members).has(each)) drains.set(each, plane.nowMs);
          for (const each of takes(members)) drains.delete(each);
          for (const each of members) if (!each.healthy) drains.set(each.personality, -drainMs);
          await plane.update(spec(members));
          before = members;
          const forget = () => {
            for (const [at, to] of connections.members) {
              const since = drains.get(to);
              if (since !== undefined && plane.nowMs >= since + drainMs)
                connections.members.delete(at);
            }
          };
          forget();
          whole();
          begin();
          whole();
          await plane.pass(passMs);
          forget();
          whole();
        }
      } finally {
        await plane.remove(name);
      }
    }),
    { numRuns: 12 },
  );
});
