import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { type Socket, connect as tcpConnect } from 'node:net';
import { Duplex, PassThrough } from 'node:stream';
import fc from 'fast-check';
import tap, { type Test, test } from 'tap';
import {
  FrameReader,
  frameBytes,
  macsOf,
  numberOf,
  roundOf,
} from '../../src/agent/memory-frames.js';
import { MemoryReceiver } from '../../src/agent/memory-receiver.js';
import { TlsMemoryWire } from '../../src/agent/memory-wire.js';
import { Standby } from '../../src/agent/standby.js';
import { flowTime, noFlows } from '../../src/dispatch/flow-words.js';
import type { Memory } from '../../src/dispatch/memory.js';
import { nextRing } from '../../src/dispatch/ring.js';
import { bootMs, bootNs } from '../../src/ffi/clock.js';
import { systemTimers } from '../../src/store/timers.js';
import { quiet } from '../bpf-place.js';

tap.setTimeout(60_000);
const log = { ...quiet, debug: () => {}, error: () => {} };
const timers = systemTimers(bootMs);
const macs = ['02:00:00:00:00:01', '02:00:00:00:00:02'];
const members = macs.map((mac, at) => ({
  personality: `web${at + 1}`,
  mac,
  weight: 1,
  healthy: true,
}));

/** A service whose first member drains. */
function memoryOf(flows: number): Memory {
  const pool = { members, drainMs: 60_000 };
  const whole = nextRing(undefined, pool, bootMs(), 'web');
  const [first, ...others] = members;
  if (first === undefined) throw new Error('no members');
  const drains = { ...pool, members: [{ ...first, weight: 0 }, ...others] };
  const ring = nextRing(whole, drains, bootMs(), 'web');
  const words = noFlows();
  const time = flowTime(bootNs());
  for (let at = 0; at < flows; at += 1) {
    words[at * 2] = (1 << 28) | (1 << 16) | 0xc000 | time;
    words[at * 2 + 1] = at + 1;
  }
  return { services: [{ service: 'web', birth: 77, ring }], flows: { words, macs }, time };
}

async function two(t: Test, keys: readonly [Buffer, Buffer]) {
  const receiver = new MemoryReceiver({ log, bootMs });
  const wireOf = (name: string, key: Buffer) =>
    new TlsMemoryWire({
      name,
      host: '127.0.0.1',
      port: 0,
      log,
      keys: () => ({ signs: key, accepts: [key] }),
    });
  const [mine, theirs] = [wireOf('h1', keys[0]), wireOf('h2', keys[1])];
  let ended = Promise.resolve();
  const froms: string[] = [];
  const port = await theirs.listen((from, stream) => {
    froms.push(from);
    ended = receiver.hear(from, stream);
  });
  let dialled: Duplex | undefined;
  const dial = (address: string, at: number) => {
    dialled = mine.dial(address, at);
    return dialled;
  };
  const standby = new Standby('h2', { timers, log, bootMs, dial });
  t.teardown(async () => {
    standby.close();
    await Promise.all([mine.stop(), theirs.stop()]);
    await ended;
  });
  /** Until it was heard, or the stream has ended. */
  const tell = async (memory: Memory, epoch = 4) => {
    const asOfMs = bootMs();
    await standby.tell(memory, new Map([['web', epoch]]), asOfMs, { address: '127.0.0.1', port });
    const stream = dialled;
    while ((standby.asOfMs ?? 0) < asOfMs && stream && !stream.destroyed) {
      await Promise.race([once(stream, 'data'), once(stream, 'close')]).catch(() => {});
    }
  };
  return { receiver, standby, tell, froms, port, dialled: () => dialled };
}

test('a standby knows what the dispatcher recorded, and hands it on for the next epoch alone', async (t) => {
  const key = randomBytes(32);
  const { receiver, standby, tell, froms } = await two(t, [key, key]);
  const memory = memoryOf(500);
  await tell(memory);
  t.same(froms, ['h1']);
  t.ok(standby.asOfMs);
  for (const epoch of [3, 4, 6]) t.equal(receiver.inherited('web', epoch), undefined);
  t.equal(receiver.inherited('other', 5), undefined);
  const inherited = receiver.inherited('web', 5);
  t.equal(inherited?.birth, 77);
  t.same(inherited?.ring?.previous, memory.services[0]?.ring?.previous);
  t.same(inherited?.flows.macs, macs);
  const told = (words: Uint32Array | undefined) =>
    words?.filter((word, at) => at % 2 === 1 && word !== 0).length;
  t.equal(told(inherited?.flows.words), 500);

  // Only what changed is told then; what has nothing to remember is forgotten.
  const more = { ...memory, flows: { ...memory.flows, words: memoryOf(600).flows.words } };
  await tell(more);
  t.equal(told(receiver.inherited('web', 5)?.flows.words), 600);
  await tell({ ...more, services: [] });
  t.equal(receiver.inherited('web', 5), undefined);
  await tell(more);
  t.ok(receiver.inherited('web', 5), 'and comes again');
});

test('who has another key is told nothing, and says nothing', async (t) => {
  const { receiver, tell, standby } = await two(t, [randomBytes(32), randomBytes(32)]);
  await tell(memoryOf(1));
  t.equal(standby.asOfMs, undefined);
  t.equal(receiver.inherited('web', 5), undefined);
});

test('a stranger who connects gets no word and is let go', async (t) => {
  const key = randomBytes(32);
  const { port, tell, receiver } = await two(t, [key, key]);
  const stranger: Socket = tcpConnect(port, '127.0.0.1');
  let said = 0;
  stranger.on('data', (chunk) => {
    said += chunk.length;
  });
  stranger.on('error', () => {});
  stranger.write(randomBytes(500));
  await once(stranger, 'close');
  t.ok(said < 50, `${said} bytes: an alert`);
  await tell(memoryOf(1));
  t.ok(receiver.inherited('web', 5), 'others are heard');
});

test('a connection that ends begins anew with all there is; what it told before stays until then', async (t) => {
  const key = randomBytes(32);
  const { receiver, tell, dialled } = await two(t, [key, key]);
  await tell(memoryOf(10));
  const before = dialled();
  before?.destroy();
  if (before) await once(before, 'close');
  t.ok(receiver.inherited('web', 5));
  // Not dialled at once: another round, a second later, would.
  await new Promise<void>((resolve) => timers.after(1_000, resolve));
  await tell(memoryOf(20));
  const words = receiver.inherited('web', 5)?.flows.words;
  t.equal(words?.filter((word, at) => at % 2 === 1 && word !== 0).length, 20);
});

test('a stream cut anywhere gives the same frames', (t) => {
  const kinds = ['service', 'members', 'flows', 'round', 'heard'] as const;
  const frame = fc.record({
    kind: fc.constantFrom(...kinds),
    body: fc.uint8Array({ maxLength: 40 }),
  });
  fc.assert(
    fc.property(
      fc.array(frame),
      fc.infiniteStream(fc.integer({ min: 1, max: 30 })),
      (frames, cuts) => {
        const reader = new FrameReader();
        let bytes = Buffer.concat(
          frames.map(({ kind, body }) => frameBytes(kind, Buffer.from(body))),
        );
        const read: { kind: string; body: number[] }[] = [];
        while (bytes.length > 0) {
          const cut = cuts.next().value ?? 1;
          for (const { kind, body } of reader.take(bytes.subarray(0, cut))) {
            read.push({ kind, body: [...body] });
          }
          bytes = bytes.subarray(cut);
        }
        return (
          JSON.stringify(read) ===
          JSON.stringify(frames.map(({ kind, body }) => ({ kind, body: [...body] })))
        );
      },
    ),
  );
  t.end();
});

test('whatever an agent says, a receiver ends the stream or goes on, and keeps nothing half', async (t) => {
  const receiver = new MemoryReceiver({ log, bootMs });
  const frame = fc
    .tuple(fc.nat(6), fc.nat(200), fc.uint8Array({ maxLength: 120 }))
    .map(([kind, wrong, body]) => {
      const head = Buffer.alloc(5);
      head.writeUInt32LE(wrong === 0 ? 0xffff_fff0 : body.length + 1);
      head[4] = kind;
      return Buffer.concat([head, body]);
    });
  await fc.assert(
    fc.asyncProperty(fc.array(frame, { maxLength: 6 }), async (frames) => {
      const input = new PassThrough();
      const stream = Duplex.from({ readable: input, writable: new PassThrough().resume() });
      stream.on('error', () => {});
      const heard = receiver.hear('h9', stream);
      for (const bytes of frames) input.write(bytes);
      input.end();
      await heard;
      return receiver.inherited('web', 1) === undefined;
    }),
    { numRuns: 60 },
  );
  t.throws(() => macsOf(Buffer.alloc(7)), RangeError);
  t.throws(() => macsOf(Buffer.alloc(6 * 4097)), RangeError);
  t.throws(() => numberOf(Buffer.alloc(3)), RangeError);
  t.throws(() => roundOf(Buffer.alloc(2)), RangeError);
});
