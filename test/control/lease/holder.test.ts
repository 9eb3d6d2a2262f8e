import { test } from 'tap';
import {
  type HolderState,
  hearsAilments,
  holderWakeNs,
  isEffective,
  isRefused,
  startHolder,
  stepHolder,
} from '../../../src/control/lease/holder.js';
import type { HolderEvent, HolderOutput } from '../../../src/control/lease/holder-events.js';

const ms = (count: number) => BigInt(count) * 1_000_000n;
const terms = {
  incarnation: 3,
  nonce: 'this-start',
  set: 0,
  controllers: [['c1', 'c2', 'c3']],
  heartbeatNs: ms(50),
  leaseNs: ms(200),
};

/** A holder whose steps are told one after the other; times in ms. */
class Story {
  state: HolderState = startHolder(terms, ms(0));
  reason = '';

  wish(atMs: number, leaseMs: number): void {
    this.#step({ kind: 'wish', leaseNs: ms(leaseMs) }, atMs);
  }
  rest(atMs: number, resting: boolean): void {
    this.#step({ kind: 'rest', resting }, atMs);
  }
  tick(atMs: number): readonly HolderOutput[] {
    return this.#step({ kind: 'tick' }, atMs);
  }
  answer(
    atMs: number,
    from: string,
    answer: 'ack' | 'challenge' | 'refuse',
    seq: number,
    changed: Partial<Extract<HolderEvent, { kind: 'answer' }>> = {},
  ): readonly HolderOutput[] {
    const ids = {
      incarnation: 3,
      nonce: 'this-start',
      seq: BigInt(seq),
      ackId: BigInt(seq) + 100n,
    };
    const event = { kind: 'answer' as const, answer, from, leaseNs: ms(200), ...ids, ...changed };
    return this.#step(event, atMs);
  }
  effective(atMs: number): boolean {
    return isEffective(this.state, ms(atMs));
  }
  #step(event: HolderEvent, atMs: number): readonly HolderOutput[] {
    const step = stepHolder(this.state, event, ms(atMs));
    this.state = step.state;
    this.reason = step.reason;
    return step.outputs;
  }
}

const kinds = (outputs: readonly HolderOutput[]) => outputs.map(({ kind }) => kind);

test('the deadline is the send time of the majority-th newest ack plus the lease', async (t) => {
  const story = new Story();
  t.same(kinds(story.tick(0)), ['heartbeat', 'heartbeat', 'heartbeat']);
  t.same(story.answer(10, 'c1', 'ack', 1), [], 'one of three is no majority');
  t.notOk(story.effective(10));
  t.same(story.answer(20, 'c2', 'ack', 1), [
    { kind: 'raise', deadlineNs: ms(200) },
    { kind: 'lease-held', deadlineNs: ms(200) },
  ]);
  story.tick(50);
  t.same(story.answer(60, 'c3', 'ack', 2), [], 'c3 is newest; c1 and c2 reach to 200 only');
  t.same(story.answer(60, 'c1', 'ack', 2), [{ kind: 'raise', deadlineNs: ms(250) }]);
  t.ok(story.effective(249));
  t.notOk(story.effective(250), 'strictly before it');
});

test('one controller counts once', async (t) => {
  const story = new Story();
  story.tick(0);
  story.tick(50);
  story.answer(60, 'c1', 'ack', 1);
  t.same(story.answer(60, 'c1', 'ack', 2), []);
  t.notOk(story.effective(60));
});

test('what does not belong to this start, incarnation or cluster is ignored', async (t) => {
  const story = new Story();
  story.tick(0);
  story.answer(1, 'c9', 'ack', 1);
  t.equal(story.reason, 'answer-of-unknown-controller');
  story.answer(1, 'c1', 'ack', 1, { nonce: 'start-before' });
  t.equal(story.reason, 'answer-to-other-start');
  story.answer(1, 'c1', 'ack', 1, { incarnation: 2 });
  t.equal(story.reason, 'answer-to-other-incarnation');
  story.answer(1, 'c1', 'ack', 7);
  t.equal(story.reason, 'answer-to-unknown-heartbeat');
  story.answer(1, 'c1', 'ack', 1);
  story.answer(2, 'c1', 'ack', 1);
  t.equal(story.reason, 'answer-not-newest');
  t.notOk(story.effective(2));
});

test('while one set of controllers replaces another, a lease needs majorities of both', async (t) => {
  const joint = { ...terms, set: 1, controllers: [terms.controllers.flat(), ['c1', 'c4', 'c5']] };
  const story = new Story();
  story.state = startHolder(joint, ms(0));
  const beats = story.tick(0);
  t.match(beats, Array(5).fill({ kind: 'heartbeat', set: 1 }), 'each controller once');
  story.answer(1, 'c1', 'ack', 1);
  t.same(story.answer(2, 'c2', 'ack', 1), [], 'of the old ones only');
  story.tick(50);
  story.answer(51, 'c3', 'ack', 2);
  t.match(story.answer(52, 'c4', 'ack', 2), [{ kind: 'raise', deadlineNs: ms(200) }, {}]);
  t.same(story.answer(53, 'c5', 'ack', 2), [], 'the old ones carry it no further');
  t.match(story.answer(54, 'c1', 'ack', 2), [{ kind: 'raise', deadlineNs: ms(250) }]);
});

test('the shorter of own and granted lease counts', async (t) => {
  const story = new Story();
  story.tick(0);
  story.answer(1, 'c1', 'ack', 1, { leaseNs: ms(150) });
  const outputs = story.answer(1, 'c2', 'ack', 1, { leaseNs: ms(9_000) });
  t.same(outputs[0], { kind: 'raise', deadlineNs: ms(150) });
});

test('a longer lease counts while it is asked for, and never shortens the deadline afterwards', async (t) => {
  const story = new Story();
  story.wish(0, 10_000);
  t.match(story.tick(0), [{ wishNs: ms(10_000) }, {}, {}]);
  story.answer(1, 'c1', 'ack', 1, { leaseNs: ms(10_000) });
  const outputs = story.answer(1, 'c2', 'ack', 1, { leaseNs: ms(10_000) });
  t.same(outputs[0], { kind: 'raise', deadlineNs: ms(10_000) });
  story.wish(20, 0);
  t.match(story.tick(50), [{ wishNs: 0n, set: 0 }, {}, {}]);
  story.answer(51, 'c1', 'ack', 2, { leaseNs: ms(10_000) });
  t.same(story.answer(51, 'c2', 'ack', 2, { leaseNs: ms(10_000) }), [], 'not asked for any more');
  t.ok(story.effective(9_999));
});

test('heartbeats keep to their grid, and a stall makes no burst', async (t) => {
  const story = new Story();
  story.tick(0);
  t.equal(holderWakeNs(story.state), ms(50));
  t.same(kinds(story.tick(49)), []);
  t.equal(story.tick(53).length, 3, 'late by 3');
  t.equal(holderWakeNs(story.state), ms(100), 'the next is not');
  t.equal(story.tick(1_017).length, 3, 'one after the stall');
  t.equal(holderWakeNs(story.state), ms(1_050));
});

test('each heartbeat echoes the newest answer of its own controller', async (t) => {
  const story = new Story();
  story.tick(0);
  story.answer(1, 'c1', 'ack', 1, { ackId: 7n });
  story.answer(1, 'c2', 'ack', 1, { ackId: 8n });
  t.same(story.tick(50), [
    { kind: 'heartbeat', to: 'c1', seq: 2n, sentAtNs: ms(50), echo: 7n, wishNs: 0n, set: 0 },
    { kind: 'heartbeat', to: 'c2', seq: 2n, sentAtNs: ms(50), echo: 8n, wishNs: 0n, set: 0 },
    { kind: 'heartbeat', to: 'c3', seq: 2n, sentAtNs: ms(50), echo: 0n, wishNs: 0n, set: 0 },
  ]);
});

test('a challenge is echoed at once, but no ball game is played', async (t) => {
  const story = new Story();
  story.tick(0);
  t.same(story.answer(2, 'c1', 'challenge', 1, { ackId: 5n }), [
    { kind: 'heartbeat', to: 'c1', seq: 2n, sentAtNs: ms(2), echo: 5n, wishNs: 0n, set: 0 },
  ]);
  t.same(story.answer(4, 'c1', 'challenge', 2, { ackId: 6n }), []);
  t.equal(story.state.peers.get('c1')?.echo, 6n, 'the next one in turn echoes it');
});

test('a lapse that passed unseen is told before the lease that follows', async (t) => {
  const story = new Story();
  story.tick(0);
  story.answer(1, 'c1', 'ack', 1);
  story.answer(1, 'c2', 'ack', 1);
  t.same(kinds(story.tick(900)), ['lease-lapsed', 'heartbeat', 'heartbeat', 'heartbeat']);
  story.answer(901, 'c1', 'ack', 2);
  t.same(kinds(story.answer(901, 'c2', 'ack', 2)), ['raise', 'lease-held']);
});

test('acks that come after their lease raise nothing that could be held', async (t) => {
  const story = new Story();
  story.tick(0);
  story.answer(300, 'c1', 'ack', 1);
  t.same(kinds(story.answer(300, 'c2', 'ack', 1)), ['raise']);
  t.notOk(story.effective(300));
});

test('a majority of refusals is told once a lease', async (t) => {
  const story = new Story();
  story.tick(0);
  t.same(story.answer(1, 'c1', 'refuse', 1), []);
  t.same(story.answer(1, 'c2', 'refuse', 1), [{ kind: 'refused' }]);
  t.same(story.answer(1, 'c3', 'refuse', 1), []);
  t.ok(isRefused(story.state));
  story.tick(50);
  t.same(story.answer(51, 'c1', 'refuse', 2), []);
  story.tick(201);
  t.same(story.answer(201, 'c1', 'refuse', 3), [{ kind: 'refused' }]);
});

test('a refusal is echoed, so that the controller learns who is well', async (t) => {
  const story = new Story();
  story.tick(0);
  story.answer(1, 'c1', 'refuse', 1, { ackId: 7n });
  t.match(story.tick(50), [
    { to: 'c1', echo: 7n },
    { to: 'c2', echo: 0n },
  ]);
});

test('a controller that acks again no longer refuses', async (t) => {
  const story = new Story();
  story.tick(0);
  story.answer(1, 'c1', 'refuse', 1);
  story.tick(50);
  story.answer(51, 'c1', 'ack', 2);
  t.same(story.answer(52, 'c2', 'refuse', 2), []);
  t.notOk(isRefused(story.state));
});

test('a holder that rests asks for nothing: its lease runs out, and is asked for again', (t) => {
  const story = new Story();
  story.tick(0);
  for (const from of ['c1', 'c2']) story.answer(10, from, 'ack', 1);
  story.rest(20, true);
  t.same(story.tick(50), []);
  t.same(story.answer(60, 'c3', 'challenge', 1), [], 'not even when it is challenged');
  t.ok(story.effective(199));
  t.same(kinds(story.tick(200)), ['lease-lapsed']);
  t.ok(Number(holderWakeNs(story.state)) > Number(ms(200)), 'it does not spin');
  story.rest(230, false);
  t.same(kinds(story.tick(250)), ['heartbeat', 'heartbeat', 'heartbeat']);
  t.end();
});

test('what ails a host is for controllers that say that they take it, and answer', (t) => {
  const story = new Story();
  story.tick(0);
  story.answer(10, 'c1', 'ack', 1, { takesAilments: true });
  story.answer(10, 'c2', 'ack', 1);
  const hears = () => ['c1', 'c2', 'c3'].filter((name) => hearsAilments(story.state, name));
  t.same(hears(), ['c1']);
  for (let atMs = 50; atMs <= 200; atMs += 50) story.tick(atMs);
  t.same(hears(), ['c1']);
  story.tick(250);
  t.same(hears(), [], 'it may have been replaced by an older version');
  t.end();
});
