import { test } from 'tap';
import { Housekeeping } from '../../src/agent/housekeeping.js';
import type { LoopParts } from '../../src/agent/loop.js';
import {
  keptAudit,
  keptEvents,
  keptFailovers,
  mostDeletions,
  surplus,
} from '../../src/control/retention.js';
import { MemoryBackend, MemoryStore } from '../../src/store/memory.js';
import { systemTimers } from '../../src/store/timers.js';
import type { Change } from '../../src/store/types.js';

const quiet: LoopParts = {
  log: { debug() {}, info() {}, warn() {}, error() {} },
  timers: systemTimers(),
};

test('the oldest are beyond the bound, in portions', (t) => {
  const entries = [3, 1, 2].map((createRevision) => ({
    key: `k${createRevision}`,
    createRevision,
  }));
  t.same(surplus(entries, 5), []);
  t.same(surplus(entries, 1), [['k1', 'k2']]);
  const many = Array.from({ length: 300 }, (_, index) => ({
    key: `k${index}`,
    createRevision: index,
  }));
  t.same(
    surplus(many, 50).map((portion) => portion.length),
    [mostDeletions, mostDeletions, 50],
  );
  t.end();
});

for (const [folder, kept] of [
  ['events', keptEvents],
  ['audit', keptAudit],
] as const) {
  test(`the leader trims ${folder}, and nobody does who is not in office`, async (t) => {
    const store = new MemoryStore(new MemoryBackend());
    await store.start(new AbortController().signal);
    const key = (index: number) => `${folder}/${String(index).padStart(6, '0')}`;
    for (let index = 0; index < kept + 220; index++) {
      await store.transact({ compare: [], write: [{ kind: 'put', key: key(index), value: '{}' }] });
    }
    await store.transact({ compare: [], write: [{ kind: 'put', key: 'office', value: 'h1' }] });
    const trimmed = new Promise<void>((resolve) => {
      store.watch(
        `${folder}/`,
        {
          snapshot: () => undefined,
          changes: (changes) => {
            if (changes.some((change) => change.kind === 'delete' && change.key === key(219)))
              resolve();
          },
        },
        new AbortController().signal,
      );
    });
    const stale = new Housekeeping(store, quiet);
    stale.begin({ kind: 'value', key: 'office', value: 'somebody else' });
    await stale.stop();
    t.equal((await store.list(`${folder}/`)).entries.length, kept + 220);
    const housekeeping = new Housekeeping(store, quiet);
    housekeeping.begin({ kind: 'value', key: 'office', value: 'h1' });
    await trimmed;
    await housekeeping.stop();
    const { entries } = await store.list(`${folder}/`);
    t.equal(entries.length, kept);
    t.equal(entries[0]?.key, key(220), 'the newest stay');
    await store.stop();
  });
}

test('a record that goes takes its steps along', async (t) => {
  const store = new MemoryStore(new MemoryBackend());
  const put = (key: string, value = '{}') =>
    store.transact({ compare: [], write: [{ kind: 'put', key, value }] });
  for (let index = 0; index < keptFailovers + 1; index++) {
    await put(`failovers/web1-${index}`);
    await put(`steps/web1-${index}/owner`);
  }
  await put('office', 'h1');
  const trimmed = new Promise<void>((resolve) => {
    const changes = (told: readonly Change[]) => {
      if (told.some(({ kind }) => kind === 'delete')) resolve();
    };
    store.watch('failovers/', { snapshot: () => undefined, changes }, new AbortController().signal);
  });
  const housekeeping = new Housekeeping(store, quiet);
  housekeeping.begin({ kind: 'value', key: 'office', value: 'h1' });
  await trimmed;
  await housekeeping.stop();
  t.equal((await store.list('failovers/')).entries.length, keptFailovers);
  t.same((await store.list('steps/web1-0/')).entries, [], 'and before it');
  t.equal((await store.list('steps/')).entries.length, keptFailovers);
  await store.stop();
});
