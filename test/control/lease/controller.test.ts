import { test } from 'tap';
import { stepGrants } from '../../../src/control/lease/controller.js';
import type { GrantEvent, GrantOutput } from '../../../src/control/lease/grant-events.js';
import {
  type GrantTerm,
  type HostGrants,
  maxGrants,
  noGrants,
  promiseNs,
} from '../../../src/control/lease/grants.js';
import { grantsWakeNs } from '../../../src/control/lease/lapses.js';

const ms = (count: number) => BigInt(Math.round(count * 1_000)) * 1_000n;
const term = {
  inheritedUntilNs: ms(202),
  controlled: true,
  leaseNs: ms(200),
  marginPercent: 1,
  longer: null,
  sets: { lowest: 0, newest: 0 },
};

/** A controller whose steps are told one after the other; times in ms of its own clock. */
class Story {
  state: HostGrants = noGrants;
  reason = '';
  #ackId = 0n;

  /** A heartbeat sent at `sentMs` of the host's clock, which is another. */
  heartbeat(
    atMs: number,
    sentMs: number,
    changed: Partial<Extract<GrantEvent, { kind: 'heartbeat' }>> = {},
  ): readonly GrantOutput[] {
    this.#ackId += 1n;
    const ids = { incarnation: 1, nonce: 'first', seq: BigInt(sentMs), sentAtNs: ms(sentMs) };
    const event = {
      kind: 'heartbeat' as const,
      ...ids,
      echo: 0n,
      wishNs: 0n,
      set: 0,
      ackId: this.#ackId,
      ...changed,
    };
    return this.step(event, atMs);
  }
  step(event: GrantEvent, atMs: number): readonly GrantOutput[] {
    const step = stepGrants(this.state, event, ms(atMs), term);
    this.state = step.state;
    this.reason = step.reason;
    return step.outputs;
  }
  /** Heard, challenged and promised at `atMs`; the promise ends at `atMs` + 202. */
  promise(atMs: number): void {
    this.heartbeat(atMs, atMs + 10_000);
    this.heartbeat(atMs, atMs + 10_001, { echo: this.#ackId });
  }
  get lastAckId(): bigint {
    return this.#ackId;
  }
}

const answerOf = (outputs: readonly GrantOutput[]) =>
  outputs.flatMap((output) => (output.kind === 'answer' ? [output.answer] : []));
const stop = { kind: 'stop', incarnation: 1, onlyIfLapsed: false } as const;

test('a promise is the lease stretched by the margin, rounded up', async (t) => {
  t.equal(promiseNs(term), 202_000_000n);
  t.equal(promiseNs({ leaseNs: 1n, marginPercent: 1 }), 2n);
});

test('only a heartbeat that echoes a fresh answer is promised to', async (t) => {
  const story = new Story();
  t.same(answerOf(story.heartbeat(1_000, 1)), ['challenge']);
  t.same(answerOf(story.heartbeat(1_010, 2, { echo: 1n })), ['ack']);
  t.same(answerOf(story.heartbeat(1_210, 3, { echo: 2n })), ['ack'], 'exactly one lease old');
  t.same(answerOf(story.heartbeat(1_411, 4, { echo: 3n })), ['challenge'], 'older');
  t.same(answerOf(story.heartbeat(1_412, 5, { echo: 77n })), ['challenge'], 'not mine');
});

test('a new start of pulse echoes before it is promised to', async (t) => {
  const story = new Story();
  story.promise(1_000);
  const echo = story.lastAckId;
  const outputs = story.heartbeat(1_010, 11_010, { nonce: 'second', seq: 1n, echo });
  t.same(answerOf(outputs), ['challenge'], 'that answer went to the start before');
  const next = story.heartbeat(1_011, 11_011, { nonce: 'second', seq: 2n, echo: story.lastAckId });
  t.same(answerOf(next), ['ack']);
});

test('heartbeats of an earlier start, late or replayed, do not displace the new one', async (t) => {
  const story = new Story();
  story.promise(1_000);
  story.heartbeat(1_010, 11_010, { nonce: 'second', seq: 1n });
  const echo = story.lastAckId;
  t.same(story.heartbeat(1_011, 11_005, { seq: 99_999n, echo }), []);
  t.equal(story.reason, 'heartbeat-not-newer');
  t.same(answerOf(story.heartbeat(1_012, 11_012, { nonce: 'second', seq: 2n, echo })), ['ack']);
  t.same(story.heartbeat(1_013, 11_012, { nonce: 'second', seq: 3n, echo }), [], 'same send time');
  t.same(story.heartbeat(1_013, 11_013, { nonce: 'second', seq: 2n, echo }), [], 'same number');
});

test('a lapse is told when the promise ran out, and again until renewed', async (t) => {
  const story = new Story();
  story.promise(1_000);
  t.equal(grantsWakeNs(story.state), ms(1_202));
  t.same(story.step({ kind: 'tick' }, 1_201), []);
  t.match(story.step({ kind: 'tick' }, 1_202), [
    { kind: 'lapsed', incarnation: 1, lastAckAgoNs: ms(202), report: 1 },
  ]);
  t.same(story.step({ kind: 'tick' }, 1_300), []);
  t.match(story.step({ kind: 'tick' }, 1_402), [{ kind: 'lapsed', report: 2 }]);
  story.heartbeat(1_500, 20_000);
  const outputs = story.heartbeat(1_501, 20_001, { echo: story.lastAckId });
  t.same(outputs[1], { kind: 'renewed', incarnation: 1 });
  t.equal(grantsWakeNs(story.state), ms(1_703));
});

test('an incarnation that only the store names becomes votable', async (t) => {
  const story = new Story();
  story.step({ kind: 'watch', incarnation: 1 }, 300);
  t.same(story.step({ kind: 'tick' }, 1_299), []);
  t.match(story.step({ kind: 'tick' }, 1_300), [{ kind: 'lapsed', lastAckAgoNs: null }]);
  t.same(story.step(stop, 1_300), [{ kind: 'stop-in-force', incarnation: 1 }]);
});

test('a stop counts only when every promise ran out', async (t) => {
  const story = new Story();
  story.promise(1_000);
  t.same(story.step(stop, 1_100), []);
  t.same(answerOf(story.heartbeat(1_110, 20_000, { echo: story.lastAckId })), ['refuse']);
  t.equal(grantsWakeNs(story.state), ms(1_202));
  t.same(story.step({ kind: 'tick' }, 1_202), [{ kind: 'stop-in-force', incarnation: 1 }]);
  t.equal(grantsWakeNs(story.state), undefined, 'no lapse is reported any more');
  t.same(story.step(stop, 1_203), [{ kind: 'stop-in-force', incarnation: 1 }], 'again: at once');
});

test('a stop of what came back is refused if that was asked', async (t) => {
  const story = new Story();
  story.promise(1_000);
  const outputs = story.step({ ...stop, onlyIfLapsed: true }, 1_100);
  t.same(outputs, [{ kind: 'stop-refused', incarnation: 1, leftNs: ms(102) }]);
  t.same(answerOf(story.heartbeat(1_110, 20_000, { echo: story.lastAckId })), ['ack']);
});

test('a stop of an incarnation never heard waits for the promises of the process before', async (t) => {
  const story = new Story();
  t.same(story.step(stop, 10), []);
  t.same(story.step({ kind: 'tick' }, 211), []);
  t.match(story.step({ kind: 'tick' }, 212), [{ kind: 'stop-in-force' }]);
});

test('after a withdrawn vote it is acked, and told as renewed', async (t) => {
  const story = new Story();
  story.promise(1_000);
  story.step({ kind: 'tick' }, 1_202);
  story.step(stop, 1_202);
  story.step({ kind: 'resume', incarnation: 1 }, 1_250);
  t.same(story.step({ kind: 'tick' }, 1_260), [], 'it gets time to be heard');
  t.same(answerOf(story.heartbeat(1_300, 20_000)), ['challenge']);
  const outputs = story.heartbeat(1_301, 20_001, { echo: story.lastAckId });
  t.same(answerOf(outputs), ['ack']);
  t.same(outputs[1], { kind: 'renewed', incarnation: 1 });
});

test('a refused host that echoes the refusals is told as heard, once a lease', async (t) => {
  const story = new Story();
  story.promise(1_000);
  story.step({ kind: 'tick' }, 1_202);
  story.step(stop, 1_202);
  const beat = (atMs: number) =>
    story
      .heartbeat(atMs, 20_000 + atMs, { echo: story.lastAckId })
      .filter(({ kind }) => kind === 'heard');
  t.same(beat(1_500), [], 'its last answer is older than a lease: this may be a replay');
  t.same(beat(1_550), [{ kind: 'heard', incarnation: 1, sinceNs: ms(1_550) }]);
  t.same([beat(1_600), beat(1_650), beat(1_700)].flat(), []);
  t.same(beat(1_750), [{ kind: 'heard', incarnation: 1, sinceNs: ms(1_550) }]);
  beat(2_200);
  t.same(beat(2_250), [{ kind: 'heard', incarnation: 1, sinceNs: ms(2_250) }], 'after a silence');
  t.same(answerOf(story.heartbeat(2_300, 30_000, { echo: story.lastAckId })), ['refuse']);
});

test('heartbeats of a refused host that hears nothing are not told', async (t) => {
  const story = new Story();
  story.step(stop, 1_000);
  for (let atMs = 1_300; atMs < 2_300; atMs += 50) {
    const outputs = story.heartbeat(atMs, 20_000 + atMs);
    t.same(
      outputs.map(({ kind }) => kind),
      ['answer'],
    );
  }
});

test('a longer lease is granted if the store allows it for that incarnation, and if it is asked for', async (t) => {
  const longer = { ...term, longer: { incarnation: 1, leaseNs: ms(10_000) } };
  const ack = (wishNs: bigint, its: GrantTerm = longer) => {
    const story = new Story();
    story.promise(1_000);
    const ids = { incarnation: 1, nonce: 'first', seq: 20_000n, sentAtNs: ms(20_000) };
    const echo = story.lastAckId;
    const event = { kind: 'heartbeat', ...ids, echo, wishNs, set: 0, ackId: 99n } as const;
    const { outputs, state } = stepGrants(story.state, event, ms(1_050), its);
    const [answer] = outputs;
    const leaseNs = answer?.kind === 'answer' ? answer.leaseNs : 0n;
    return [leaseNs, state.grants[0]?.promisedUntilNs];
  };
  t.same(ack(ms(10_000)), [ms(10_000), ms(1_050 + 10_100)]);
  t.same(ack(ms(60_000)), [ms(10_000), ms(1_050 + 10_100)], 'bounded by what is allowed');
  t.same(ack(0n), [ms(200), ms(1_252)]);
  t.same(ack(ms(10_000), { ...term, longer: null }), [ms(200), ms(1_252)]);
  const other = { ...term, longer: { incarnation: 2, leaseNs: ms(10_000) } };
  t.same(ack(ms(10_000), other), [ms(200), ms(1_252)], 'of another incarnation');
});

test('a controller that forgot its promises waits for a longer one that the store speaks of', async (t) => {
  const longer = { incarnation: 1, leaseNs: ms(10_000) };
  const watch = { kind: 'watch', incarnation: 1 } as const;
  const { state } = stepGrants(noGrants, watch, ms(300), { ...term, longer });
  const early = stepGrants(state, { kind: 'tick' }, ms(10_399), { ...term, longer });
  t.same(early.outputs, []);
  const late = stepGrants(state, { kind: 'tick' }, ms(10_400), { ...term, longer });
  t.match(late.outputs, [{ kind: 'lapsed' }]);
});

test('a newer incarnation supersedes; the older one still lapses in its time', async (t) => {
  const story = new Story();
  story.promise(1_000);
  t.same(answerOf(story.heartbeat(1_050, 1, { incarnation: 2, nonce: 'other' })), ['challenge']);
  t.same(answerOf(story.heartbeat(1_060, 30_000, { echo: 1n })), ['refuse']);
  t.equal(story.reason, 'refused-superseded');
  t.match(story.step({ kind: 'tick' }, 1_202), [{ kind: 'lapsed', incarnation: 1 }]);
});

test('own stand-still gives hosts time to be read, but not for ever', async (t) => {
  const story = new Story();
  story.promise(1_000);
  for (let atMs = 1_200; atMs <= 2_100; atMs += 50) story.step({ kind: 'stalled' }, atMs);
  t.same(story.step({ kind: 'tick' }, 2_199), []);
  t.match(story.step({ kind: 'tick' }, 2_202), [{ kind: 'lapsed' }]);
});

test('nothing is promised under a set that was refused, or that was not read yet', async (t) => {
  const heartbeat = (set: number) => {
    const ids = { incarnation: 1, nonce: 'n', seq: 1n, sentAtNs: 1n } as const;
    const event = { kind: 'heartbeat', ...ids, echo: 0n, wishNs: 0n, set, ackId: 1n } as const;
    return stepGrants(noGrants, event, ms(1), { ...term, sets: { lowest: 2, newest: 3 } }).reason;
  };
  t.same([1, 2, 3, 4].map(heartbeat), ['set-refused', 'challenged', 'challenged', 'set-not-read']);
});

test('before control nothing is answered', async (t) => {
  const event = { kind: 'heartbeat', incarnation: 1, nonce: 'n', seq: 1n, sentAtNs: 1n } as const;
  const waiting = { ...term, controlled: false };
  const rest = { echo: 0n, wishNs: 0n, set: 0, ackId: 1n };
  const step = stepGrants(noGrants, { ...event, ...rest }, ms(1), waiting);
  t.same(step, { state: noGrants, outputs: [], reason: 'not-controlling' });
});

test('the table of a host is bounded and keeps what is promised', async (t) => {
  const story = new Story();
  for (let incarnation = 1; incarnation <= 50; incarnation++) {
    story.heartbeat(1_000 + incarnation * 300, 1, { incarnation });
    t.ok(story.state.grants.length <= maxGrants);
  }
  t.equal(story.state.newest, 50);
  const full = new Story();
  for (let incarnation = 1; incarnation <= maxGrants; incarnation++) {
    full.heartbeat(1_000, 1, { incarnation });
  }
  t.same(full.heartbeat(1_001, 1, { incarnation: maxGrants + 1 }), []);
  t.equal(full.reason, 'table-full');
});

test('what an acked host says of itself is told when it changes, and when an ack proves it new', (t) => {
  const story = new Story();
  const dark = { dark: true, agentAway: false };
  const ails = (outputs: readonly GrantOutput[]) => outputs.filter(({ kind }) => kind === 'ails');
  t.same(
    ails(story.heartbeat(0, 10_000, { ailments: dark })),
    [],
    'a challenge: it may be a replay',
  );
  const told = story.heartbeat(1, 10_001, { echo: story.lastAckId, ailments: dark });
  t.same(ails(told), [{ kind: 'ails', incarnation: 1, ailments: dark }]);
  t.same(answerOf(told), ['ack'], 'it is acked all the same');
  const again = story.heartbeat(2, 10_002, { echo: story.lastAckId, ailments: dark });
  t.same(ails(again), []);
  const none = { dark: false, agentAway: false };
  const over = story.heartbeat(3, 10_003, { echo: story.lastAckId });
  t.same(ails(over), [{ kind: 'ails', incarnation: 1, ailments: none }]);
  t.end();
});
