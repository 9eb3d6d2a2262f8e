import { type Test, test } from 'tap';
import { Enrolment } from '../../src/agent/enrolment.js';
import { put } from '../../src/agent/transactions.js';
import { retiredKey, voteKey } from '../../src/control/keys.js';
import type { VoteRecord } from '../../src/control/records.js';
import { MemoryStore } from '../../src/store/memory.js';
import { MemoryBackend } from '../../src/store/memory-backend.js';
import { openStage, quiet } from './stage.js';

const refused = { kind: 'refused', incarnation: 1 } as const;
const vote = (controller: string, state: VoteRecord['state'] = 'expired') => {
  const record: VoteRecord = { state, lastAckAgoMs: 202, atMs: 900, bootId: 'boot' };
  return put(voteKey('h4', 1, controller), record);
};

/** A store that a host can be cut off from. */
class FarStore extends MemoryStore {
  away = false;
  asked = 0;
  override async list(prefix: string) {
    this.asked++;
    if (this.away) throw new Error('no answer');
    return await super.list(prefix);
  }
}

/** Host h4, enrolled as incarnation 1; the store may change behind the back of its watch. */
async function openHost(t: Test) {
  const backend = new MemoryBackend();
  const store = new FarStore(backend);
  const stage = await openStage(t, 'h4', store);
  const { watch, pulse, journal, timers, signal } = stage;
  let drops = 0;
  let enrolled: (incarnation: number) => void = () => {};
  const enrolment = new Enrolment({
    host: 'h4',
    bootToken: 'h4',
    pulsePort: 7411,
    store,
    watch,
    pulse,
    maps: { prepare: (incarnation) => `/map/${incarnation}`, forget: () => {} },
    journal,
    log: quiet,
    timers,
    dropEverything: async () => {
      drops++;
    },
    onHeld: () => {},
    onIncarnation: (incarnation) => enrolled(incarnation),
  });
  t.teardown(() => enrolment.stop());
  const next = () =>
    new Promise<number>((resolve) => {
      enrolled = resolve;
    });
  const first = next();
  enrolment.start();
  watch.start(signal);
  pulse.connect('n1');
  t.equal(await first, 1, 'the same boot, the same incarnation');
  return { ...stage, store, other: new MemoryStore(backend), enrolment, next, drops: () => drops };
}

const turns = async (count: number) => {
  for (let turn = 0; turn < count; turn++) await new Promise((resolve) => setImmediate(resolve));
};

test('refusals of a majority expel nobody: one of their votes may be withdrawn by now', async (t) => {
  const { pulse, other, store, enrolment, drops } = await openHost(t);
  await other.transact({ compare: [], write: [vote('h1', 'withdrawn'), vote('h2')] });
  const { asked } = store;
  pulse.tell(refused);
  while (store.asked === asked) await turns(1);
  await turns(20);
  t.equal(enrolment.incarnation, 1);
  t.equal(drops(), 0);
  t.notOk(pulse.asked.some(({ kind }) => kind === 'retire'));
});

test('nor does a watch that is behind with a withdrawal', async (t) => {
  const { watch, until, other, store, enrolment, drops } = await openHost(t);
  const { revision } = await other.transact({
    compare: [],
    write: [vote('h1', 'withdrawn'), vote('h2')],
  });
  await until(() => watch.view.votes.has('h4/1'));
  const { asked } = store;
  watch.learn([vote('h1')], revision + 1);
  while (store.asked === asked) await turns(1);
  await turns(20);
  t.equal(enrolment.incarnation, 1);
  t.equal(drops(), 0);
});

for (const [what, writes] of [
  ['a majority of standing votes', [vote('h1'), vote('h2')]],
  ['a retired mark', [put(retiredKey('h4', 1), {})]],
] as const) {
  test(`${what} is final: the host lets go of everything and enrols anew`, async (t) => {
    const { pulse, other, next, drops } = await openHost(t);
    const again = next();
    await other.transact({ compare: [], write: writes });
    pulse.tell(refused);
    t.equal(await again, 2);
    t.ok(drops() > 0);
    t.ok(pulse.asked.some(({ kind }) => kind === 'retire'));
  });
}

test('a host that is cut off from the store keeps what it has, and asks again', async (t) => {
  const { pulse, other, store, next, enrolment, drops } = await openHost(t);
  store.away = true;
  const { asked } = store;
  pulse.tell(refused);
  while (store.asked === asked) await turns(1);
  await turns(20);
  t.equal(enrolment.incarnation, 1);
  t.equal(drops(), 0);
  store.away = false;
  const again = next();
  await other.transact({ compare: [], write: [vote('h1'), vote('h2')] });
  pulse.tell(refused);
  t.equal(await again, 2);
});
