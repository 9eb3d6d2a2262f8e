import { test } from 'tap';
import { type BallotFacts, ballotFacts } from '../../src/control/ballot-facts.js';
import {
  type Ballot,
  type BallotEvent,
  decideBallot,
  isIdle,
  noBallot,
  spareVoteMs,
  stepBallot,
} from '../../src/control/ballots.js';
import { noAilments } from '../../src/control/lease/ailments.js';
import {
  mostFollowed,
  mostWithdrawals,
  withdrawalWindowMs,
} from '../../src/control/withdrawals.js';
import { World, web1 } from './world.js';

const leaseMs = 200;
const nobody: ReadonlySet<string> = new Set();
const lapse = { lastAckAgoMs: 202, atMs: 1_000 };
const lapsed = { kind: 'lapsed', lapse } as const;
const stopped = { kind: 'stopped' } as const;
const heard = (sinceMs: number, atMs: number) =>
  ({ kind: 'heard', heard: { sinceMs, atMs } }) as const;

const told = (...events: readonly (readonly [number, BallotEvent])[]): Ballot =>
  events.reduce((ballot, [nowMs, event]) => stepBallot(ballot, event, nowMs), noBallot);

/** What h1 sees of votes against h4, after these voted. */
function facts(...voters: readonly string[]): BallotFacts {
  const world = new World();
  for (const voter of voters) world.vote('h4', 1, voter);
  return ballotFacts(world.view, 'h1', 'h4', 1, nobody);
}
const decide = (ballot: Ballot, seen: BallotFacts, nowMs: number) =>
  decideBallot(ballot, seen, nowMs, leaseMs);

test('a lapse is voted, and then the vote rests while nothing is heard', async (t) => {
  t.match(decide(told([1_000, lapsed]), facts(), 1_000), {
    kind: 'vote',
    lapse,
    reason: 'no heartbeat for 202 ms',
  });
  const voted = told([1_000, lapsed], [1_000, stopped]);
  t.match(decide(voted, facts(), 1_001), { kind: 'vote' }, 'not written: its result is unknown');
  t.match(decide(voted, facts('h1'), 1_001), { kind: 'rest', reason: 'silent' });
  t.match(decide(noBallot, facts(), 1_000), { kind: 'rest', reason: 'acked' });
});

test('a vote that is to spare leaves the others a moment', async (t) => {
  const world = new World();
  for (const host of ['h1', 'h2', 'h3', 'h4']) world.enrol(host, 1);
  const ballot = told([1_000, lapsed]);
  const seenBy = (me: string, unwell = nobody) => ballotFacts(world.view, me, 'h4', 1, unwell);
  t.match(decide(ballot, seenBy('h1'), 1_000), { kind: 'vote' });
  t.match(decide(ballot, seenBy('h3'), 1_000), {
    kind: 'rest',
    reason: 'others-vote',
    wakeAtMs: 1_000 + spareVoteMs,
  });
  t.match(decide(ballot, seenBy('h3'), 1_000 + spareVoteMs), { kind: 'vote' }, 'they did not');
  t.match(
    decide(ballot, seenBy('h3', new Set(['h1/1'])), 1_000),
    { kind: 'stop' },
    'h1 is not well: needed after h2',
  );
  world.retire('h4', 1);
  t.match(decide(ballot, seenBy('h3'), 1_000 + spareVoteMs), { reason: 'retired' });
});

test('the vote that makes the majority leaves the others a moment to be there before', async (t) => {
  const world = new World();
  const seen = (unwell = nobody) => ballotFacts(world.view, 'h2', 'h4', 1, unwell);
  const ballot = told([1_000, lapsed]);
  t.match(decide(ballot, seen(), 1_000), { kind: 'stop', reason: 'votes-last' }, 'meanwhile');
  const inForce = told([1_000, lapsed], [1_000, stopped], [1_000, { kind: 'in-force' }]);
  t.ok(inForce.stopInForce);
  const until = { kind: 'rest', reason: 'votes-last', wakeAtMs: 1_000 + spareVoteMs };
  t.match(decide(inForce, seen(), 1_001), until);
  t.match(decide(inForce, seen(), 1_000 + spareVoteMs), { kind: 'vote' }, 'they are not');
  t.match(decide(inForce, seen(new Set(['h1/1'])), 1_001), { kind: 'vote' }, 'h1 is not well');
  world.assign(web1, 'h3');
  t.match(
    decide(inForce, seen(new Set(['h3/1'])), 1_001),
    { kind: 'vote' },
    'the leader places all',
  );
  world.vote('h4', 1, 'h1', { state: 'withdrawn' });
  t.match(decide(inForce, seen(), 1_001), until, 'one that was taken back is not there');
  world.vote('h4', 1, 'h1');
  t.match(decide(inForce, seen(), 1_001), { kind: 'vote', lapse });
  t.match(decide(ballot, seen(), 1_000), { kind: 'vote' }, 'nothing to wait for');
});

test('whether a stop is in force is known of this pulse and this stop alone', async (t) => {
  const inForce = told([1_000, lapsed], [1_000, stopped], [1_000, { kind: 'in-force' }]);
  for (const event of [
    stopped,
    { kind: 'promised' },
    { kind: 'renewed' },
    { kind: 'resumed' },
    { kind: 'connected', stopped: true },
  ] as const) {
    t.notOk(stepBallot(inForce, event, 1_001).stopInForce, event.kind);
  }
  t.ok(stepBallot(inForce, lapsed, 1_050).stopInForce, 'told of again');
});

test('the own vote is withdrawn once the host was heard for one lease', async (t) => {
  const voted = [
    [1_000, lapsed],
    [1_000, stopped],
  ] as const;
  const seen = facts('h1');
  t.match(decide(told(...voted, [1_500, heard(1_500, 1_500)]), seen, 1_500), {
    reason: 'heard-too-shortly',
  });
  t.match(decide(told(...voted, [1_700, heard(1_500, 1_700)]), seen, 1_700), {
    kind: 'withdraw',
    reason: 'heard again for 200 ms',
  });
  t.match(
    decide(told(...voted, [1_700, heard(1_500, 1_700)]), seen, 2_101),
    { kind: 'rest', reason: 'silent' },
    'what was heard is old',
  );
});

test('a majority is final: nobody withdraws any more', async (t) => {
  const ballot = told([1_000, lapsed], [1_000, stopped], [1_700, heard(1_500, 1_700)]);
  t.match(decide(ballot, facts('h1', 'h2'), 1_700), { reason: 'majority-stands' });
  t.match(decide(ballot, facts('h2', 'h3'), 1_700), { reason: 'majority-stands' });
  const world = new World();
  world.vote('h4', 1, 'h1');
  world.retire('h4', 1);
  t.match(decide(ballot, ballotFacts(world.view, 'h1', 'h4', 1, nobody), 1_700), {
    reason: 'retired',
  });
});

test('a withdrawn vote of another does not stand', async (t) => {
  const world = new World();
  world.vote('h4', 1, 'h1');
  world.vote('h4', 1, 'h2', { state: 'withdrawn' });
  const ballot = told([1_000, lapsed], [1_000, stopped], [1_700, heard(1_500, 1_700)]);
  t.match(decide(ballot, ballotFacts(world.view, 'h1', 'h4', 1, nobody), 1_700), {
    kind: 'withdraw',
  });
});

test('a stop that an earlier agent left without its vote is voted, or taken back', async (t) => {
  const ballot = told([1_000, { kind: 'connected', stopped: true }]);
  t.match(decide(ballot, facts(), 1_000), { reason: 'not-told-yet', wakeAtMs: 1_400 });
  t.match(decide(ballot, facts(), 1_400), { kind: 'vote', lapse: { lastAckAgoMs: null } });
  const well = stepBallot(ballot, heard(1_000, 1_250), 1_250);
  t.match(decide(well, facts(), 1_250), { kind: 'withdraw' });
});

test('a withdrawal that landed late, of a host silent by now, is voted again', async (t) => {
  const world = new World();
  world.vote('h4', 1, 'h1', { state: 'withdrawn' });
  const ballot = told([1_000, lapsed], [1_000, stopped], [1_700, heard(1_500, 1_700)]);
  const seen = ballotFacts(world.view, 'h1', 'h4', 1, nobody);
  t.match(decide(ballot, seen, 1_800), { kind: 'withdraw' }, 'once more: it fences what is late');
  t.match(decide(ballot, seen, 2_200), { kind: 'vote', lapse });
});

test('pulse that promised again ends it, whatever became of the order to stop', async (t) => {
  for (const kind of ['renewed', 'promised'] as const) {
    const ballot = told([1_000, lapsed], [1_000, stopped], [1_001, { kind }]);
    t.ok(isIdle(ballot, 1_001));
  }
});

test('a host that comes and goes is withdrawn so often in a minute, not more', async (t) => {
  let ballot = noBallot;
  let nowMs = 1_000;
  const flap = () => {
    for (const event of [lapsed, stopped, heard(nowMs, nowMs + leaseMs)]) {
      ballot = stepBallot(ballot, event, nowMs);
    }
    nowMs += leaseMs;
    return decide(ballot, facts('h1'), nowMs);
  };
  for (let count = 0; count < mostWithdrawals; count++) {
    t.match(flap(), { kind: 'withdraw' });
    ballot = stepBallot(ballot, { kind: 'resumed' }, nowMs);
  }
  t.match(flap(), { reason: 'withdrew-too-often' });
  t.equal(ballot.withdrawnAtMs.length, mostWithdrawals, 'bounded');
  nowMs += withdrawalWindowMs;
  t.match(flap(), { kind: 'withdraw' }, 'a minute later');
  t.ok(isIdle(stepBallot(ballot, { kind: 'promised' }, nowMs), nowMs));
});

test('one that is acked and says that it has no lease is voted where others vote', async (t) => {
  const dark = { kind: 'ails', ailments: { dark: true, agentAway: false } } as const;
  const world = new World();
  world.assign(web1, 'h4');
  const seen = (...voters: readonly string[]) => {
    for (const voter of voters) world.vote('h4', 1, voter);
    return ballotFacts(world.view, 'h1', 'h4', 1, nobody);
  };
  const ailing = told([1_000, dark]);
  t.match(decide(ailing, facts('h2'), 5_000), { reason: 'acked' }, 'no role waits for it');
  t.match(decide(ailing, seen(), 5_000), { reason: 'acked' }, 'nobody votes');
  const waits = { kind: 'rest', reason: 'dark-too-shortly', wakeAtMs: 1_400 };
  t.match(decide(ailing, seen('h2'), 1_399), waits);
  t.match(decide(ailing, seen('h2'), 1_400), { kind: 'vote', follows: true });
  t.match(decide(noBallot, seen('h2'), 1_400), { reason: 'acked' }, 'it has a lease');
  const back = told([1_000, dark], [1_200, { ...dark, ailments: noAilments }]);
  t.match(decide(back, seen('h2'), 2_000), { reason: 'acked' }, 'it has one again');
  t.ok(isIdle(back, 2_000));

  const followed = told(
    [1_400, { kind: 'followed' }],
    [1_400, stopped],
    [1_900, heard(1_600, 1_900)],
  );
  const others = { ...seen(), others: [] };
  t.match(decide(followed, others, 1_900), { reason: 'others-follow', wakeAtMs: 2_400 });
  const later = stepBallot(followed, heard(1_600, 2_400), 2_400);
  t.match(decide(later, others, 2_400), { kind: 'withdraw' }, 'nobody else did');

  let often = told([0, dark]);
  for (let count = 0; count < mostFollowed; count++) {
    often = stepBallot(often, { kind: 'resumed' }, 100);
  }
  often = stepBallot(often, dark, 1_000);
  const brake = { reason: 'withdrew-too-often', wakeAtMs: 100 + withdrawalWindowMs };
  t.match(decide(often, seen('h2'), 1_400), brake);
});

test('of five, two follow where neither alone would make the majority', async (t) => {
  const ailing = told([1_000, { kind: 'ails', ailments: { dark: true, agentAway: false } }]);
  const sets = [['h1', 'h2', 'h3', 'h5', 'h6']];
  const other = (controller: string, standing: boolean, well: boolean) =>
    ({ controller, standing, well, revision: 1 }) as const;
  const seen = (hears: boolean): BallotFacts => ({
    ...facts(),
    electorate: { set: 0, sets },
    hasRole: () => true,
    others: [other('h2', true, true), other('h3', false, hears), other('h5', false, false)],
  });
  t.match(decide(ailing, seen(true), 1_400), { kind: 'vote', follows: true });
  t.match(decide(ailing, seen(false), 1_400), { reason: 'acked' });
});

test('with one controller every vote is final', async (t) => {
  const ballot = told([1_000, lapsed], [1_000, stopped], [1_700, heard(1_500, 1_700)]);
  const alone = { ...facts('h1'), others: [], electorate: { set: 0, sets: [['h1']] } };
  t.match(decide(ballot, alone, 1_700), { reason: 'majority-stands' });
});
