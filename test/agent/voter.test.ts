import { type Test, test } from 'tap';
import { put } from '../../src/agent/transactions.js';
import { Voter } from '../../src/agent/voter.js';
import type { Commit } from '../../src/control/failover.js';
import {
  assignmentKey,
  controllerStartKey,
  longerKey,
  retiredKey,
  voteKey,
} from '../../src/control/keys.js';
import type { AssignmentRecord, LongerLeaseRecord, VoteRecord } from '../../src/control/records.js';
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
async function openVoter(
  t: Test,
  votes: Readonly<Record<string, VoteRecord>> = {},
  nonce = 'n1',
  commitsWith: () => readonly Commit[] = () => [],
) {
  const backend = new MemoryBackend();
  const store = new SlowStore(backend);
  const stage = await openStage(t, 'h1', store);
  const write = Object.entries(votes).map(([at, vote]) => put(at, vote));
  if (write.length > 0) await store.transact({ compare: [], write });
  const { watch, pulse, clock, journal, timers } = stage;
  const committed: Commit[] = [];
  const hurried: string[] = [];
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
    hurry: {
      begin: () => {
        hurried.push('hurry');
        return () => void hurried.push('calm');
      },
    },
    onLapse: () => {},
    commitsWith,
    onCommit: (commit) => committed.push(commit),
    onControl: () => {},
  });
  t.teardown(() => voter.stop());
  voter.start();
  watch.start(stage.signal);
  pulse.connect(nonce);
  await pulse.first('control');
  const state = () => watch.view.votes.get('h4/1')?.get('h1')?.value.state;
  return { ...stage, store, voter, committed, hurried, other: new MemoryStore(backend), state };
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

test('a vote tells that the host had said that its agent is away', async (t) => {
  const { pulse, until, state, watch } = await openVoter(t);
  pulse.tell({ kind: 'ails', ...h4, dark: false, agentAway: true });
  pulse.tell(lapsed);
  await until(() => state() === 'expired');
  t.equal(watch.view.votes.get('h4/1')?.get('h1')?.value.agentAway, true);
});

test('a vote goes before other work, and only that', async (t) => {
  const { pulse, until, state, hurried } = await openVoter(t);
  t.same(hurried, []);
  pulse.tell(lapsed);
  await until(() => state() === 'expired');
  while (!hurried.includes('calm')) await turn();
  t.same(hurried, ['hurry', 'calm']);
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

/** What h1's vote is committed on with, over the assignment as it was written at `assignmentRevision`. */
const commitOver = (assignmentRevision: number, configRevision: number): Commit => ({
  role: { kind: 'personality', name: 'web1' },
  from: h4,
  assignmentRevision,
  configRevision,
  votes: [],
  toHostRevision: null,
  next: { ...assigned, host: 'h3', epoch: 2 },
  record: null,
});
const assigned: AssignmentRecord = {
  host: 'h4',
  incarnation: 1,
  epoch: 1,
  state: 'assigned',
  cause: 'placed',
  reason: 'for a test',
  to: null,
  failover: null,
};
const web1Key = assignmentKey('personality', 'web1');

async function openClosing(t: Test) {
  let revision = 0;
  let configRevision = 0;
  const opened = await openVoter(t, {}, 'n1', () => [commitOver(revision, configRevision)]);
  const write = [put(web1Key, assigned)];
  ({ revision } = await opened.other.transact({ compare: [], write }));
  configRevision = opened.watch.view.config?.revision ?? 0;
  const written: string[][] = [];
  opened.store.interfere = async (transaction) => {
    const keys = transaction.write.map(({ key }) => key);
    if (keys.includes(key)) written.push(keys);
  };
  const owner = () => opened.watch.view.assignments.get('personality/web1')?.value.host;
  return { ...opened, written, owner };
}

test('the vote that makes the majority is written with what is committed on it', async (t) => {
  const { pulse, until, state, written, owner, committed, watch } = await openClosing(t);
  pulse.tell(lapsed);
  await until(() => owner() === 'h3' && state() === 'expired');
  t.same(written, [[key, web1Key, retiredKey('h4', 1)]], 'in one transaction, after the stop');
  t.ok(watch.view.retired.has('h4/1'));
  while (committed.length === 0) await turn();
  t.match(pulse.asked.at(-1), { kind: 'stop-acks', ...h4, onlyIfLapsed: true });
});

test('where that cannot be committed the vote is written alone', async (t) => {
  const { pulse, until, state, store, other, owner, committed, watch } = await openClosing(t);
  const written: number[] = [];
  store.interfere = async ({ write }) => {
    if (!write.some((one) => one.key === key)) return;
    if (written.push(write.length) > 1) return;
    // In the same moment: the role was moved by somebody.
    const moved = { ...assigned, host: 'h2', epoch: 2 };
    await other.transact({ compare: [], write: [put(web1Key, moved)] });
  };
  pulse.tell(lapsed);
  await until(() => state() === 'expired');
  t.same(written, [3, 1]);
  t.equal(owner(), 'h2');
  t.notOk(watch.view.retired.has('h4/1'), 'all of it or nothing');
  t.same(committed, []);
});

test('nor does either land after another start of this controller', async (t) => {
  const { pulse, state, store, other, owner } = await openClosing(t);
  let tries = 0;
  store.interfere = async ({ write }) => {
    if (!write.some((one) => one.key === key) || tries++ > 0) return;
    await other.transact({ compare: [], write: [put(controllerStartKey('h1'), { nonce: 'n2' })] });
  };
  pulse.tell(lapsed);
  while (tries < 2) await turn();
  t.equal(state(), undefined);
  t.equal(owner(), 'h4');
});

test('a vote with its commit whose answer was lost is not written again', async (t) => {
  const { pulse, until, state, store, other, owner, watch } = await openClosing(t);
  let tries = 0;
  store.interfere = async (transaction) => {
    if (!transaction.write.some((one) => one.key === key)) return;
    if (tries++ === 0) await other.transact(transaction);
  };
  pulse.tell(lapsed);
  await until(() => state() === 'expired' && owner() === 'h3');
  const revision = watch.view.votes.get('h4/1')?.get('h1')?.revision;
  pulse.tell({ kind: 'lapsed', host: 'h3', incarnation: 1, lastAckAgoMs: 202, atMs: 1_000 });
  await until(() => watch.view.votes.get('h3/1')?.get('h1') !== undefined);
  t.equal(watch.view.votes.get('h4/1')?.get('h1')?.revision, revision);
  t.equal(tries, 1);
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

test('a host that is acked and has no lease is voted with the others: its promise is waited out', async (t) => {
  const votes = { [voteKey('h4', 1, 'h2')]: voteOf('expired') };
  const { pulse, until, state, voter, clock, store, watch } = await openVoter(t, votes);
  const owned = { host: 'h4', incarnation: 1, epoch: 1, state: 'assigned', to: null } as const;
  const why = { cause: 'placed', reason: '', failover: null } as const;
  const assignment: AssignmentRecord = { ...owned, ...why };
  await store.transact({ compare: [], write: [put(web1Key, assignment)] });
  await until(() => watch.view.assignments.get('personality/web1')?.value.host === 'h4');
  pulse.tell({ kind: 'ails', ...h4, dark: true, agentAway: true });
  t.same([...voter.agentless], ['h4/1']);
  clock.ms += 400;
  t.match(await pulse.first('stop-acks'), { ...h4, onlyIfLapsed: false });
  await until(() => state() === 'expired');
  t.same([...voter.lapsed], []);
  pulse.tell({ kind: 'ails', ...h4, dark: false, agentAway: false });
  t.same([...voter.agentless], []);
});
