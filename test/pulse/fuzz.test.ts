import { join } from 'node:path';
import { test } from 'tap';
import { PulseClient } from '../../src/pulse/client.js';
import { thisMachine } from '../../src/pulse/machine.js';
import { encodePacket, type Packet } from '../../src/pulse/packet.js';
import type { PulseReply } from '../../src/pulse/protocol.js';
import { Pulse } from '../../src/pulse/pulse.js';
import { Random } from '../control/lease/world-parts.js';
import { control, enrol } from './cluster.js';
import { Farm } from './farm.js';
import { openFileLeaseMap, readDeadlineNs } from './file-lease-map.js';

const key = Buffer.from('the key of this cluster, and no other');

test('100,000 bad packets change nothing and are counted', async (t) => {
  const farm = new Farm();
  t.teardown(() => farm.close());
  const socket = join(farm.folder, 'pulse.sock');
  const mapPath = join(farm.folder, 'map');
  const me = farm.peer('me', 1);
  const machine = thisMachine(
    { bind: me.address, port: me.port, keyFile: '', socket, realtime: false },
    key,
  );
  let receive: (bytes: Buffer) => void = () => {};
  const pulse = new Pulse({
    machine: {
      ...machine,
      wire: (parts) => {
        const wire = machine.wire(parts);
        receive = (bytes) => wire.receive(bytes);
        return wire;
      },
    },
    loadLeaseMaps: async () => openFileLeaseMap,
    log: () => {},
  });
  await pulse.start();
  t.teardown(() => pulse.stop());
  const client = new PulseClient({ path: socket });
  t.teardown(() => client.stop());
  await new Promise<void>((resolve) => {
    client.onConnect(() => resolve());
    client.start(new AbortController().signal);
  });
  const status = async () => {
    const reply = await client.request({ kind: 'status' });
    return reply as Extract<PulseReply, { kind: 'status' }>;
  };
  const slow = { leaseMs: 60_000, heartbeatMs: 10_000 };
  const daemon = { peer: me, mapPath } as Parameters<typeof control>[0];
  const other = farm.peer('h', 9);
  await client.request(control(daemon, [other], { leaseMs: slow.leaseMs }));
  await client.request(enrol(daemon, [farm.peer('c1', 2), farm.peer('c2', 3)], slow));

  // One real host, whose heartbeats a stranger will have captured.
  const real = (seq: number, echo: bigint): Packet => ({
    type: 'heartbeat',
    sender: 'h',
    receiver: 'me',
    incarnation: 1,
    nonce: '00'.repeat(16),
    seq: BigInt(seq),
    sentAtNs: BigInt(seq),
    ackId: echo,
    leaseNs: 0n,
  });
  const captured = [1, 2, 3, 4, 5].map((seq) => encodePacket(real(seq, 0n), key));
  for (const bytes of captured) receive(bytes);
  const before = await status();
  t.equal(before.counters.challenged, 5);

  const random = new Random(99);
  const counts = { malformed: 0, forged: 0, replayed: 0, strange: 0 };
  for (let count = 0; count < 100_000; count++) {
    const model = captured[random.below(captured.length)] ?? Buffer.alloc(0);
    switch (random.below(5)) {
      case 0: // noise
        receive(Buffer.from(Array.from({ length: random.below(90) }, () => random.below(256))));
        counts.malformed++;
        break;
      case 1: // cut short
        receive(model.subarray(0, random.below(model.length)));
        counts.malformed++;
        break;
      case 2: {
        // changed after the outline
        const changed = Buffer.from(model);
        const at = 6 + random.below(changed.length - 6);
        changed[at] = (changed[at] ?? 0) ^ (1 + random.below(255));
        receive(changed);
        counts.forged++;
        break;
      }
      case 3:
        receive(model);
        counts.replayed++;
        break;
      default: {
        // Of the cluster, but not for this pulse, from nobody it knows, or to an earlier start.
        const wrong = [
          { sender: 'stranger' },
          { receiver: 'else' },
          { type: 'ack', sender: 'c1', seq: 1n, ackId: 9n, leaseNs: 10n ** 12n },
          { type: 'refuse', sender: 'c2', seq: 1n },
        ] as const;
        receive(encodePacket({ ...real(6, 0n), ...wrong[random.below(4)] }, key));
        counts.strange++;
      }
    }
  }
  const after = await status();
  const grown = (name: string) => (after.counters[name] ?? 0) - (before.counters[name] ?? 0);
  t.equal(grown('received'), 100_000);
  t.equal(grown('malformed') + grown('forged'), counts.malformed + counts.forged);
  t.ok(grown('forged') >= counts.forged);
  t.equal(grown('heartbeat-not-newer'), counts.replayed);
  const strange = ['unknown-host', 'misaddressed', 'answer-to-other-start'];
  t.equal(
    strange.reduce((sum, name) => sum + grown(name), 0),
    counts.strange,
  );
  t.equal(grown('promised') + grown('challenged') + grown('acked'), 0);
  t.same(after.hosts, before.hosts);
  t.equal(after.deadlineMs, null);
  t.equal(readDeadlineNs(mapPath), 0n);
});
