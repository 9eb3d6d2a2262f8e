import fc from 'fast-check';
import t from 'tap';
import { MemoryBackend, MemoryStore } from '../../src/store/memory.js';
import { storeCompliance } from './compliance.js';
import { VirtualTimers } from './virtual-timers.js';

const put = (key: string, value: string) => ({ kind: 'put', key, value }) as const;
const never = new AbortController().signal;

t.test('the interface', async (t) => {
  storeCompliance(t, async (inner) => {
    const backend = new MemoryBackend();
    return () => {
      const store = new MemoryStore(backend);
      inner.teardown(() => store.stop());
      return store;
    };
  });
});

t.test('a write whose answer is lost was carried out all the same', async (t) => {
  const timers = new VirtualTimers();
  const messages: (() => void)[] = [];
  const backend = new MemoryBackend({ timers, deliver: (message) => messages.push(message) });
  const store = new MemoryStore(backend, { identity: 'h1' });
  const refused = t.rejects(
    store.transact(
      { compare: [{ kind: 'absent', key: 'a' }], write: [put('a', '1')] },
      { budgetMs: 500 },
    ),
    { code: 'US_STORE_UNREACHABLE' },
  );
  messages.shift()?.();
  backend.cut('h1');
  messages.shift()?.();
  await timers.runMs(500);
  await refused;
  t.equal(backend.get('a')?.value, '1');
});

t.test('a handle that was cut off gets a new snapshot, and calls that waited go on', async (t) => {
  const timers = new VirtualTimers();
  const backend = new MemoryBackend({ timers });
  const [cut, other] = ['h1', 'h2'].map((identity) => new MemoryStore(backend, { identity }));
  const told: string[] = [];
  cut?.watch(
    'w/',
    {
      snapshot: ({ entries }) => told.push(`snapshot ${entries.map(({ value }) => value)}`),
      changes: (changes) => told.push(`${changes.length} changes`),
    },
    never,
  );
  await timers.runMs(1);
  backend.cut('h1');
  const waiting = cut?.get('w/a');
  await other?.transact({ compare: [], write: [put('w/a', '1')] });
  await other?.transact({ compare: [], write: [put('w/a', '2')] });
  await timers.runMs(1_000);
  t.same(told, ['snapshot ']);
  backend.heal('h1');
  t.equal((await waiting)?.value, '2');
  t.same(told, ['snapshot ', 'snapshot 2']);
});

t.test('a holder that is cut off steps down before another is elected', async (t) => {
  const timers = new VirtualTimers();
  const backend = new MemoryBackend({ timers });
  const told: [number, string][] = [];
  for (const identity of ['h1', 'h2']) {
    new MemoryStore(backend, { identity }).campaign(
      'leader',
      identity,
      {
        elected: () => told.push([timers.nowMs(), `${identity} elected`]),
        lost: (reason) => told.push([timers.nowMs(), `${identity} lost: ${reason}`]),
      },
      never,
    );
    await timers.runMs(10);
  }
  await timers.runMs(10_000);
  t.same(told, [[0, 'h1 elected']], 'nothing happens without need');
  backend.cut('h1');
  await timers.runMs(10_000);
  const [, lost, elected] = told;
  t.equal(told.length, 3);
  t.equal(lost?.[1], 'h1 lost: the lease could not be renewed for 2 s');
  t.equal(elected?.[1], 'h2 elected');
  t.ok((elected?.[0] ?? 0) - (lost?.[0] ?? 0) >= 400, 'with time to spare');
  backend.heal('h1');
  await timers.runMs(10_000);
  t.equal(told.length, 3, 'nobody is pushed out of office');
});

t.test('whatever is cut, healed or delayed, no two are in office at once', async (t) => {
  const step = fc.record({
    identity: fc.constantFrom('h1', 'h2', 'h3'),
    kind: fc.constantFrom('cut', 'heal'),
    waitMs: fc.integer({ min: 0, max: 2_500 }),
  });
  const story = fc.asyncProperty(
    fc.array(step, { maxLength: 12 }),
    fc.infiniteStream(fc.integer({ min: 0, max: 90 })),
    async (steps, delays) => {
      const timers = new VirtualTimers();
      const backend = new MemoryBackend({
        timers,
        deliver: (message) => timers.after(delays.next().value ?? 0, message),
      });
      const stop = new AbortController();
      const inOffice = new Set<string>();
      let most = 0;
      let terms = 0;
      for (const identity of ['h1', 'h2', 'h3']) {
        new MemoryStore(backend, { identity }).campaign(
          'leader',
          identity,
          {
            elected: () => {
              terms++;
              inOffice.add(identity);
              most = Math.max(most, inOffice.size);
            },
            lost: () => inOffice.delete(identity),
          },
          stop.signal,
        );
      }
      for (const { identity, kind, waitMs } of steps) {
        if (kind === 'cut') backend.cut(identity);
        else backend.heal(identity);
        await timers.runMs(waitMs);
      }
      for (const identity of ['h1', 'h2', 'h3']) backend.heal(identity);
      await timers.runMs(10_000);
      const elected = inOffice.size;
      stop.abort();
      await timers.runMs(10_000);
      return most === 1 && elected === 1 && terms >= 1 && inOffice.size === 0;
    },
  );
  await fc.assert(story, { numRuns: 60 });
  t.pass();
});
