import { join } from 'node:path';
import { test } from 'tap';
import { assignmentKey, configKey, maskKey } from '../../src/control/keys.js';
import { MaskKeeper } from '../../src/storage/mask-keeper.js';
import { MaskLedger } from '../../src/storage/mask-ledger.js';
import type { OwnedMaskOrder } from '../../src/storage/mask-orders.js';
import { keepMasks } from '../../src/storage/target-main.js';
import type { MaskOrder } from '../../src/storage/types.js';
import { MemoryBackend, MemoryStore } from '../../src/store/memory.js';
import { systemTimers } from '../../src/store/timers.js';
import { configWith } from './cluster-file.js';
import { until } from './lun-server.js';

const quiet = { debug() {}, info() {}, warn() {}, error() {} };

test('a look at all masks that takes long is not joined by the next ones', async (t) => {
  const store = new MemoryStore(new MemoryBackend());
  const looks: ((holds: boolean) => void)[] = [];
  const mask = {
    ledger: new MaskLedger(join(t.testdir(), 'epochs.json')),
    apply: async () => undefined,
    holds: () => new Promise<boolean>((resolve) => looks.push(resolve)),
  };
  const keeper = new MaskKeeper({
    mask,
    store,
    log: quiet,
    timers: systemTimers(),
    nowMs: () => 0,
  });
  const order = { target: 'iqn.t:a', personality: 'web1', generation: 1, epoch: 1, host: 'h1' };
  await keeper.order([{ ...order, initiator: 'iqn.i' }], 1);
  const rounds: Promise<void>[] = [];
  // Nothing to look at before the mask is set and recorded.
  await until(() => {
    rounds.push(keeper.verify());
    return looks.length > 0;
  });
  for (let round = 0; round < 10; round++) rounds.push(keeper.verify());
  looks[0]?.(true);
  await Promise.all(rounds);
  t.equal(looks.length, 1, 'one at a time, however often it was asked for');
  const again = keeper.verify();
  await until(() => looks.length === 2);
  looks[1]?.(true);
  await again;
  await keeper.stop();
});

test('a target that left the configuration is closed once, and then nobody of ours any more', async (t) => {
  const applied: MaskOrder[] = [];
  const looks: string[] = [];
  const ledger = new MaskLedger(join(t.testdir(), 'epochs.json'));
  const mask = {
    ledger,
    apply: async (order: MaskOrder) => {
      await (await ledger.admit(order)).written;
      applied.push(order);
    },
    // Somebody lets another machine in, by hand.
    holds: async ({ target }: MaskOrder) => {
      looks.push(target);
      return false;
    },
  };
  const store = new MemoryStore(new MemoryBackend());
  const parts = { mask, store, log: quiet, timers: systemTimers(), nowMs: () => 0 };
  const keeper = new MaskKeeper(parts);
  const order = { target: 'iqn.t:a', personality: 'web1', generation: 1, epoch: 1, host: 'h1' };
  await keeper.order([{ ...order, initiator: 'iqn.i' }], 1);
  await until(() => applied.length === 1);
  await keeper.order([], 2);
  await until(async () => (await ledger.targets()).size === 0);
  t.equal(applied.at(-1)?.initiator, undefined, 'nobody is let in by us');
  await keeper.verify();
  t.same(looks, [], 'it is not looked at');
  t.equal(applied.length, 2, 'and not closed again');

  await keeper.order([{ ...order, generation: 3, epoch: 2, initiator: 'iqn.i' }], 3);
  await until(() => applied.length === 3);
  t.equal(applied.at(-1)?.initiator, 'iqn.i', 'back in the configuration, it is ours again');
  await keeper.stop();
});

test('a store made anew is told that the target remembers later epochs', async (t) => {
  const file = join(t.testdir(), 'epochs.json');
  const before = new MaskLedger(file);
  const order = { target: 'iqn.t:a', personality: 'web1', generation: 4, epoch: 7 };
  await (await before.admit({ ...order, initiator: 'iqn.i7' })).written;

  const ledger = new MaskLedger(file);
  const mask = {
    ledger,
    apply: async (wanted: MaskOrder) => (await ledger.admit(wanted)).written,
    holds: async () => true,
  };
  const store = new MemoryStore(new MemoryBackend());
  let writes = 0;
  const counted: Pick<MemoryStore, 'transact'> = {
    transact: async (...asked) => {
      const answer = await store.transact(...asked);
      writes += 1;
      return answer;
    },
  };
  const keeper = new MaskKeeper({
    mask,
    store: counted,
    log: quiet,
    timers: systemTimers(),
    nowMs: () => 0,
  });
  const recorded = async () => (await store.get(maskKey('iqn.t:a')))?.value;
  await keeper.order([{ ...order, epoch: 1, host: 'h1', initiator: 'iqn.i1' }], 4);
  await until(async () => (await recorded()) !== undefined);
  t.match(JSON.parse((await recorded()) ?? ''), { epoch: 1, error: /epoch 7 was applied before/ });

  // A late order beside a mask that is recorded says nothing about it.
  const good = JSON.stringify({ personality: 'web1', host: 'h1', epoch: 7, initiator: 'iqn.i7' });
  await store.transact({
    compare: [],
    write: [{ kind: 'put', key: maskKey('iqn.t:a'), value: good }],
  });
  await keeper.order([{ ...order, epoch: 2, host: 'h1', initiator: 'iqn.i2' }], 4);
  await until(() => writes === 2);
  await keeper.stop();
  t.equal(await recorded(), good);
});

test('garbage in the store ends no watch: masks follow what can be read', async (t) => {
  const store = new MemoryStore(new MemoryBackend());
  const applied: MaskOrder[] = [];
  const mask = {
    ledger: new MaskLedger(join(t.testdir(), 'epochs.json')),
    apply: async (order: MaskOrder) => {
      applied.push(order);
    },
    holds: async () => true,
  };
  const stop = new AbortController();
  const clock = { log: quiet, timers: systemTimers(), nowMs: () => 0, verifyEveryMs: 60_000 };
  const running = keepMasks({ store, mask, ...clock }, stop.signal);
  const put = (key: string, value: string) =>
    store.transact({ compare: [], write: [{ kind: 'put', key, value }] });
  await put(configKey, 'null');
  await put(assignmentKey('personality', 'web1'), '{');
  const config = configWith({ a: 'iqn.t:a' }, { web1: ['a'] });
  await put(configKey, JSON.stringify({ generation: 1, config }));
  const assignment = { host: 'h4', incarnation: 1, epoch: 2, state: 'assigned', to: null };
  await put(
    assignmentKey('personality', 'web1'),
    JSON.stringify({ ...assignment, failover: null }),
  );
  await until(() => applied.some(({ epoch }) => epoch === 2));
  stop.abort();
  await running;
});

test('a planned move is answered to once the mask was looked after, and once only', async (t) => {
  const store = new MemoryStore(new MemoryBackend());
  const records: { readonly move: number | null }[] = [];
  const stop = new AbortController();
  const told = (entries: readonly { readonly value: string }[]) => {
    for (const { value } of entries) records.push(JSON.parse(value) as { move: number | null });
  };
  store.watch(
    maskKey(''),
    {
      snapshot: ({ entries }) => told(entries),
      changes: (changes) => told(changes.flatMap((one) => (one.kind === 'put' ? [one.entry] : []))),
    },
    stop.signal,
  );
  const mask = {
    ledger: new MaskLedger(join(t.testdir(), 'epochs.json')),
    apply: async () => undefined,
    holds: async () => true,
  };
  const parts = { mask, store, log: quiet, timers: systemTimers(), nowMs: () => 0 };
  const keeper = new MaskKeeper(parts);
  const base = { target: 'iqn.t:a', personality: 'web1', generation: 1, initiator: 'iqn.i' };
  const h1 = { ...base, epoch: 1, host: 'h1' };
  const after = async (order: OwnedMaskOrder, count: number) => {
    await keeper.order([order], 1);
    await until(() => records.length === count);
  };
  await after(h1, 1);
  await after({ ...h1, move: 17 }, 2);
  await keeper.order([h1], 1);
  await after({ ...base, epoch: 2, host: 'h2' }, 3);
  t.same(
    records.map(({ move }) => move),
    [null, 17, null],
    'that it was called off asks for nothing',
  );
  await keeper.stop();
  stop.abort();
});
