import { type Test, test } from 'tap';
import { put } from '../../src/agent/transactions.js';
import { Voter } from '../../src/agent/voter.js';
import { controllerStartKey, longerKey, retiredKey, voteKey } from '../../src/control/keys.js';
import type { LongerLeaseRecord, VoteRecord } from '../../src/control/records.js';
import { MemoryStore } from '../../src/store/memory.js';
import { MemoryBackend } from '../../src/store/memory-backend.js';
import type { Transaction, TransactionResult } from '../../src/store/types.js';
import { openStage, quiet } from './stage.js';

/** A store whose transactions on a key may be held back, or lose their answers. */
class SlowStore extends MemoryStore {
  interfere: (transaction: Transaction) => Promise<void> = async () => {};
  override async transact(transaction: Transaction): Promise<TransactionResult> {
    await this.interfere(transaction);
    return await super.transact(transaction);
  }
}

const h4 = { host: 'h4', incarnation: 1 };
const key = voteKey('h4', 1, 'h1');
const lapsed = { kind: 'lapsed', ...h4, lastAckAgoMs: 202, atMs: 1_000 } as const;
const heard = { kind: 'heard', ...h4, sinceMs: 1_000, atMs: 1_250 } as const;
const voteOf = (state: VoteRecord['state']): VoteRecord => ({
  state,
  lastAckAgoMs: 202,
  atMs: 900,
  bootId: 'boot',
});

const turn = () => new Promise((resolve) => setImmediate(resolve));

/** Controller h1, connected to its pulse. */
async function openVoter(t: Test, votes: Readonly<Record<string, VoteRecord>> = {}, nonce = 'n1') {
  const backend = new MemoryBackend();
  const store = new SlowStore(backend);
  const stage = await openStage(t, 'h1', store);
  const write = Object.entries(votes).map(([at, vote]) => put(at, vote));
  if (write.length > 0) await store.transact({ compare: [], write });
  const { watch, pulse, clock, journal, timers } = stage;
  const voter = new Voter({
    host: 'h1',
    pulsePort: 7411,
    store,
    watch,
    pulse,
    clock,
    journal,
    log: quiet,
    timers,
    onLapse: () => {},
    onControl: () => {},
  });
  t.teardown(() => voter.stop());
  voter.start();
  watch.start(stage.signal);
  pulse.connect(nonce);
  await pulse.first('control');
  const state = () => watch.view.votes.get('h4/1')?.get('h1')?.value.state;
  return { ...stage, store, voter, other: new MemoryStore(backend), state };
}

test('a lapse is voted; a host that is heard again has its vote withdrawn, then is acked', async (t) => {
  const { pulse, until, state, voter, clock } = await openVoter(t);
  pulse.tell(lapsed);
  t.same([...voter.lapsed], ['h4/1']);
  await until(() => state() === 'expired');
  t.match(pulse.asked.at(-1), { kind: 'stop-acks', ...h4, onlyIfLapsed: true });
  clock.ms = 1_250;
  let stateAtResume: string | undefined;
  pulse.answer = (request) => {
    if (request.kind === 'resume-acks') stateAtResume = state();
    return { kind: 'ok' };
  };
  pulse.tell(heard);
  t.match(await pulse.first('resume-acks'), h4);
  await until(() => state() === 'withdrawn');
  while (voter.lapsed.size > 0) await turn();
  t.not(stateAtResume, undefined, 'overwritten, never deleted');
});

test('a vote read from the store after a restart is withdrawn too', async (t) => {
  const { pulse, until, state, clock } = await openVoter(t, { [key]: voteOf('expired') });
  t.match((await pulse.first('control')).stopped, [h4]);
  clock.ms = 1_250;
  pulse.tell(heard);
  await pulse.first('resume-acks');
  await until(() => state() === 'withdrawn');
});

test('a stop that an agent before this one left without a vote is taken back', async (t) => {
  const { pulse, until, state, clock } = await openVoter(t);
  pulse.connect('n1', [h4]);
  clock.ms = 1_250;
  pulse.tell(heard);
  await pulse.first('resume-acks');
  await until(() => state() === 'withdrawn');
});

for (const [what, changed] of [
  ['another controller votes', put(voteKey('h4', 1, 'h2'), voteOf('expired'))],
  ['a commit retires it', put(retiredKey('h4', 1), {})],
  ['another start of this controller takes over', put(controllerStartKey('h1'), { nonce: 'n2' })],
] as const) {
  test(`it is not withdrawn when, in the same moment, ${what}`, async (t) => {
    const { pulse, until, state, store, other, clock } = await openVoter(t, {
      [key]: voteOf('expired'),
    });
    let tries = 0;
    store.interfere = async (transaction) => {
      if (!JSON.stringify(transaction.write).includes('withdrawn')) return;
      if (tries++ === 0) await other.transact({ compare: [], write: [changed] });
    };
    clock.ms = 1_250;
    pulse.tell(heard);
    await until(() => tries > 0 && state() === 'expired');
    pulse.tell({ ...heard, atMs: 1_251 });
    pulse.tell({ kind: 'lapsed', host: 'h3', incarnation: 1, lastAckAgoMs: 202, atMs: 1_000 });
    await pulse.first('stop-acks'); // a later run of the same loop
    t.equal(state(), 'expired');
    t.notOk(pulse.asked.some(({ kind }) => kind === 'resume-acks'));
  });
}

test('a withdrawal whose answer is lost is written again before anything is acked', async (t) => {
  const { pulse, until, watch, state, store, other, clock } = await openVoter(t, {
    [key]: voteOf('expired'),
  });
  const revision = () => watch.view.votes.get('h4/1')?.get('h1')?.revision ?? 0;
  await until(() => revision() > 0);
  let lost = false;
  store.interfere = async (transaction) => {
    if (!JSON.stringify(transaction.write).includes('withdrawn') || lost) return;
    lost = true;
    await other.transact(transaction);
    throw new Error('no answer');
  };
  clock.ms = 1_250;
  pulse.tell(heard);
  await until(() => state() === 'withdrawn');
  const first = revision();
  t.notOk(
    pulse.asked.some(({ kind }) => kind === 'resume-acks'),
    'what came after it is not known',
  );
  pulse.tell({ ...heard, atMs: 1_300 });
  await pulse.first('resume-acks');
  await until(() => revision() > first);
});

test('a vote that lands after the withdrawal does not stand', async (t) => {
  const { pulse, until, state, store, other, clock } = await openVoter(t);
  let late: Transaction | undefined;
  store.interfere = async (transaction) => {
    if (late !== undefined || !JSON.stringify(transaction.write).includes('expired')) return;
    late = transaction;
    throw new Error('no answer');
  };
  pulse.tell(lapsed);
  await pulse.first('stop-acks');
  clock.ms = 1_250;
  pulse.tell(heard);
  await pulse.first('resume-acks');
  await until(() => state() === 'withdrawn');
  t.ok(late !== undefined && !(await other.transact(late)).done);
  t.equal(state(), 'withdrawn');
});

test('pulse is told the longer leases that the store speaks of, as read', async (t) => {
  const { pulse, other } = await openVoter(t);
  t.notOk('longer' in (await pulse.first('control')), 'left out where there is none');
  pulse.asked.length = 0;
  const record: LongerLeaseRecord = { incarnation: 1, nonce: 'n', leaseMs: 10_000 };
  await other.transact({ compare: [], write: [put(longerKey('h4'), record)] });
  t.match((await pulse.first('control')).longer, [{ ...h4, leaseMs: 10_000 }]);
  pulse.asked.length = 0;
  const wrong = [{ ...record, leaseMs: 86_400_000 }, { ...record, incarnation: 'one' }, []];
  const write = wrong.map((one, index) => put(longerKey(`h${1 + index}`), one));
  await other.transact({ compare: [], write });
  const { longer } = await pulse.first('control');
  t.same(longer, [{ ...h4, leaseMs: 10_000 }], 'what pulse would not take is left out');
});

test('a host that came back before the vote is not voted', async (t) => {
  const { pulse, state } = await openVoter(t);
  pulse.answer = ({ kind }) =>
    kind === 'stop-acks'
      ? { kind: 'error', code: 'US_PULSE_PROMISED', message: 'it came back' }
      : { kind: 'ok' };
  pulse.tell(lapsed);
  await pulse.first('stop-acks');
  pulse.answer = () => ({ kind: 'ok' });
  pulse.tell({ kind: 'lapsed', host: 'h3', incarnation: 1, lastAckAgoMs: 202, atMs: 1_000 });
  while (!pulse.asked.some((one) => one.kind === 'stop-acks' && one.host === 'h3')) {
    await turn();
  }
  t.equal(state(), undefined);
});
