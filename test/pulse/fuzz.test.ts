import { join } from 'node:path';
import { type Test, test } from 'tap';
import { PulseClient } from '../../src/pulse/client.js';
import { ClusterKeys } from '../../src/pulse/keys.js';
import { thisMachine } from '../../src/pulse/machine.js';
import { encodePacket, longestPacketBytes, type Packet } from '../../src/pulse/packet.js';
import type { PulseEvent, PulseReply } from '../../src/pulse/protocol.js';
import { Pulse } from '../../src/pulse/pulse.js';
import { Random } from '../control/lease/world-parts.js';
import { control, enrol } from './cluster.js';
import { Farm } from './farm.js';
import { openFileLeaseMap, readDeadlineNs } from './file-lease-map.js';

const key = Buffer.from('the key of this cluster, and no other');
const otherKey = Buffer.from('the key of another cluster, as long');
const packets = 100_000;
/** Nothing is sent or lapses by itself while the test runs. */
const slow = { leaseMs: 60_000, heartbeatMs: 10_000 };

/** A pulse whose packets come from the test, and go to it. */
async function openPulse(t: Test) {
  const farm = new Farm();
  t.teardown(() => farm.close());
  const socket = join(farm.folder, 'pulse.sock');
  const mapPath = join(farm.folder, 'map');
  const me = farm.peer('me', 1);
  const machine = thisMachine(
    { bind: me.address, port: me.port, keyFile: '', socket, realtime: false },
    new ClusterKeys(() => [key]),
  );
  let receive: (bytes: Buffer) => void = () => {};
  const sent: Packet[] = [];
  const pulse = new Pulse({
    machine: {
      ...machine,
      wire: (parts) => {
        const wire = machine.wire(parts);
        receive = (bytes) => wire.receive(bytes);
        return {
          start: () => wire.start(),
          stop: () => wire.stop(),
          send: (_peer, packet) => sent.push(packet),
        };
      },
    },
    loadLeaseMaps: async () => openFileLeaseMap,
    log: () => {},
  });
  await pulse.start();
  t.teardown(() => pulse.stop());
  const client = new PulseClient({ path: socket });
  t.teardown(() => client.stop());
  const events: PulseEvent[] = [];
  client.onEvent((event) => events.push(event));
  await new Promise<void>((resolve) => {
    client.onConnect(() => resolve());
    client.start(new AbortController().signal);
  });
  const daemon = { peer: me, mapPath } as Parameters<typeof control>[0];
  const hosts = [farm.peer('h', 9), farm.peer('voted', 8), farm.peer('ails', 7)];
  const stopped = [{ host: 'voted', incarnation: 1 }];
  await client.request(control(daemon, hosts, { leaseMs: slow.leaseMs, stopped }));
  await client.request(enrol(daemon, [farm.peer('c1', 2), farm.peer('c2', 3)], slow));
  const status = async () => {
    const reply = await client.request({ kind: 'status' });
    return reply as Extract<PulseReply, { kind: 'status' }>;
  };
  return { mapPath, events, status, sent, receive: (bytes: Buffer) => receive(bytes) };
}

const heartbeat = (sender: string, seq: number, echo: bigint): Packet => ({
  type: 'heartbeat',
  sender,
  receiver: 'me',
  incarnation: 1,
  nonce: '00'.repeat(16),
  seq: BigInt(seq),
  sentAtNs: BigInt(seq),
  ackId: echo,
  leaseNs: 0n,
  set: 0,
});

/** What a stranger on the network captured while all was well: each was taken once. */
function realTraffic(pulse: Awaited<ReturnType<typeof openPulse>>): readonly Buffer[] {
  const captured: Buffer[] = [];
  const deliver = (packet: Packet) => {
    const bytes = encodePacket(packet, key);
    captured.push(bytes);
    pulse.receive(bytes);
    return pulse.sent.at(-1)?.ackId ?? 0n;
  };
  // A host that is acked, one that is refused, and one that says what ails it, in packets of version 2:
  // all echo what they heard.
  for (const host of ['h', 'voted', 'ails']) {
    let echo = 0n;
    for (const seq of [1, 2, 3]) {
      const ailing = host === 'ails' ? { ailments: { dark: seq > 1, agentAway: true } } : {};
      echo = deliver({ ...heartbeat(host, seq, echo), ...ailing });
    }
  }
  // The answers to this pulse's own heartbeats.
  for (const own of pulse.sent.filter(({ type }) => type === 'heartbeat')) {
    const answer = { ...own, type: 'ack', sender: own.receiver, receiver: 'me' } as const;
    deliver({ ...answer, ackId: 9n, leaseNs: BigInt(slow.leaseMs) * 1_000_000n });
  }
  return captured;
}

/** Of the cluster, but not for this pulse, from nobody it knows, or to an earlier start of it. */
const strange: readonly Partial<Packet>[] = [
  { sender: 'stranger' },
  { receiver: 'else' },
  { receiver: 'else', ailments: { dark: true, agentAway: true } },
  { type: 'ack', sender: 'c1', ackId: 9n, leaseNs: 10n ** 12n },
  { type: 'challenge', sender: 'c1', ackId: 9n },
  { type: 'refuse', sender: 'c2' },
];

const bad: Readonly<Record<string, (model: Buffer, random: Random) => Buffer>> = {
  noise: (_model, random) =>
    Buffer.from(
      Array.from({ length: random.below(longestPacketBytes + 20) }, () => random.below(256)),
    ),
  'cut short': (model, random) => model.subarray(0, random.below(model.length)),
  'made longer': (model, random) => Buffer.concat([model, Buffer.alloc(1 + random.below(20))]),
  changed: (model, random) => {
    const changed = Buffer.from(model);
    const at = random.below(changed.length);
    changed[at] = (changed[at] ?? 0) ^ (1 + random.below(255));
    return changed;
  },
  forged: (_model, random) => {
    const seq = 10 + random.below(1_000_000);
    const ailing = seq % 2 === 0 ? { ailments: { dark: true, agentAway: true } } : {};
    return encodePacket({ ...heartbeat('h', seq, 9n), leaseNs: 10n ** 10n, ...ailing }, otherKey);
  },
  replayed: (model) => model,
  strange: (_model, random) =>
    encodePacket({ ...heartbeat('h', 10, 0n), ...strange[random.below(strange.length)] }, key),
};

test('100,000 bad packets change nothing and are counted', async (t) => {
  const pulse = await openPulse(t);
  const captured = realTraffic(pulse);
  const { mapPath, events, sent } = pulse;
  const before = await pulse.status();
  t.match(before.counters, { challenged: 2, promised: 4, 'refused-stopped': 3, acked: 2 });
  t.equal(new Set(captured.map((bytes) => bytes[2])).size, 2, 'of both versions');
  const deadlineNs = readDeadlineNs(mapPath);
  t.ok(deadlineNs > 0n, 'the lease is held');
  const told = events.length;
  const answers = sent.length;

  const random = new Random(99);
  const kinds = Object.keys(bad);
  const count = new Map(kinds.map((kind) => [kind, 0]));
  for (let done = 0; done < packets; done++) {
    const kind = kinds[random.below(kinds.length)] ?? 'noise';
    const model = captured[random.below(captured.length)] ?? Buffer.alloc(0);
    count.set(kind, (count.get(kind) ?? 0) + 1);
    pulse.receive((bad[kind] ?? Buffer.from)(model, random));
  }

  const after = await pulse.status();
  const grown = (...names: readonly string[]) =>
    names.reduce(
      (sum, name) => sum + (after.counters[name] ?? 0) - (before.counters[name] ?? 0),
      0,
    );
  const of = (...some: readonly string[]) =>
    some.reduce((sum, kind) => sum + (count.get(kind) ?? 0), 0);
  t.equal(grown('received'), packets);
  t.equal(
    grown('malformed', 'forged'),
    of('noise', 'cut short', 'made longer', 'changed', 'forged'),
    'each is counted as what it is',
  );
  t.ok(grown('forged') >= of('forged'));
  t.equal(grown('heartbeat-not-newer', 'answer-not-newest'), of('replayed'));
  t.equal(grown('unknown-host', 'misaddressed', 'answer-to-other-start'), of('strange'));
  t.equal(grown('promised', 'challenged', 'acked', 'refused', 'refused-stopped'), 0);
  t.equal(sent.length, answers, 'nobody is answered');
  t.equal(events.length, told, 'the agent is told nothing');
  t.equal(readDeadlineNs(mapPath), deadlineNs, 'the lease is what it was');
  t.equal(after.deadlineMs, before.deadlineMs);
  const fixed = (status: typeof before) =>
    status.hosts.map(({ lastAckAgoMs, ...host }) => ({
      ...host,
      ackedMs: lastAckAgoMs === null ? null : Math.round(status.nowMs - lastAckAgoMs),
    }));
  t.same(fixed(after), fixed(before), 'nor is what was promised to anybody');
});
