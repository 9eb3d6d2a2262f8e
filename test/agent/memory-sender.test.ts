import { PassThrough } from 'node:stream';
import { test } from 'tap';
import { MemorySender } from '../../src/agent/memory-sender.js';
import { featuresKey } from '../../src/control/keys.js';
import { noFlows } from '../../src/dispatch/flow-words.js';
import type { Memory } from '../../src/dispatch/memory.js';
import { systemTimers } from '../../src/store/timers.js';
import { quiet } from '../bpf-place.js';
import { World, web, web1, web2 } from '../control/world.js';

const log = { ...quiet, debug: () => {}, error: () => {} };
const features = { vlan: true, kernel: '6.1', flowsPort: 7414 };
const sticky = [{ service: 'web', birth: 1, ring: undefined }];
const memory: Memory = { services: sticky, flows: { words: noFlows(), macs: [] }, time: 1 };

/** h1 dispatches; h3 and h4 are next, as h2 has a member. */
function stage(everyMs: () => number | undefined, takers = ['h1', 'h2', 'h3', 'h4']) {
  const world = new World();
  world.assign(web1, 'h1');
  world.assign(web2, 'h2');
  world.assign(web, 'h1');
  for (const host of takers) world.write(featuresKey(host), features);
  const dialled: string[] = [];
  const streams: PassThrough[] = [];
  let read = 0;
  const sender = new MemorySender({
    host: 'h1',
    watch: { view: world.view },
    dispatch: {
      memoryEveryMs: everyMs,
      memory: async () => {
        read += 1;
        return memory;
      },
    },
    timers: systemTimers(),
    log,
    bootMs: () => 0,
    dial: (address, port) => {
      dialled.push(`${address}:${port}`);
      // What is written is thrown away: nobody answers.
      const stream = new PassThrough({ highWaterMark: 1 });
      streams.push(stream);
      return stream;
    },
  });
  return { world, sender, dialled, streams, read: () => read };
}

test('told are the hosts that would dispatch next and take it; with nothing to tell none, and nothing is read', async (t) => {
  let everyMs: number | undefined;
  const { sender, dialled, streams, read } = stage(() => everyMs);
  await sender.flush(AbortSignal.timeout(100));
  t.same([dialled, read(), sender.ages()], [[], 0, []]);
  everyMs = 60_000;
  await sender.flush(AbortSignal.timeout(300));
  t.same([...dialled].sort(), ['10.66.0.3:7414', '10.66.0.4:7414']);
  t.equal(read(), 1);
  t.same(
    sender.ages().map(({ ageMs }) => ageMs),
    [null, null],
    'who says nothing has heard nothing, and a move waits no longer than it may',
  );
  await sender.stop();
  t.ok(streams.every(({ destroyed }) => destroyed));
});

test('where a move goes is told, too; a role of another host is nobody’s to tell of', async (t) => {
  const { world, sender, dialled } = stage(() => 60_000);
  world.assign(web, 'h1', { state: 'draining', to: 'h2' });
  await sender.flush(AbortSignal.timeout(200));
  t.same(dialled, ['10.66.0.2:7414', '10.66.0.3:7414', '10.66.0.4:7414']);
  await sender.stop();

  const other = stage(() => 60_000);
  other.world.assign(web, 'h2');
  await other.sender.flush(AbortSignal.timeout(200));
  t.same(other.dialled, []);
  await other.sender.stop();

  const older = stage(() => 60_000, ['h1', 'h3']);
  await older.sender.flush(AbortSignal.timeout(200));
  t.same(older.dialled, ['10.66.0.3:7414'], 'a host of a version that takes nothing is not');
  await older.sender.stop();
});
