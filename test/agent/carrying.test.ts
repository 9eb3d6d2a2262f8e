import { test } from 'tap';
import { type Carried, Carrying } from '../../src/agent/carrying.js';
import type { Timers } from '../../src/store/timers.js';
import { PlayedPulse, quiet } from './stage.js';

function setUp() {
  const pulse = new PlayedPulse();
  let carried: readonly Carried[] | undefined;
  let incarnation: number | undefined;
  let tick: () => void = () => undefined;
  const timers: Timers = {
    nowMs: () => 0,
    after: (_ms, action) => {
      tick = action;
      return () => undefined;
    },
  };
  const carrying = new Carrying({
    pulse,
    timers,
    log: quiet,
    incarnation: () => incarnation,
    carried: () => carried,
  });
  carrying.start();
  const set = (...roles: readonly Carried[]) => {
    [carried, incarnation] = [roles, 3];
    carrying.look();
  };
  const connect = (known?: readonly string[]) => pulse.connect('n1', [], known);
  return { pulse, set, connect, tick: () => tick() };
}

const mine = { id: 'personality/web1@7', found: false };
const found = { id: 'personality/db@2', found: true };

test('pulse is told at once, on each change, and once a second', async (t) => {
  const { pulse, set, connect, tick } = setUp();
  tick();
  t.same(pulse.asked, [], 'not before it is there');
  connect();
  t.same(pulse.asked, [{ kind: 'carries', incarnation: 0 }], 'what it knew before holds');
  set();
  t.same(pulse.asked.at(-1), { kind: 'carries', incarnation: 3, roles: [] });
  set(mine);
  t.same(pulse.asked.at(-1), { kind: 'carries', incarnation: 3, roles: [mine.id] });
  set(mine);
  t.equal(pulse.asked.length, 3);
  tick();
  t.same(pulse.asked.at(-1), pulse.asked.at(-2));
  t.equal(pulse.asked.length, 4);
});

for (const [what, known, told] of [
  ['counts where the agent before had got it to work', [found.id], [found.id, mine.id]],
  ['does not where it was on its way', ['service/other@1'], [mine.id]],
  ['counts where pulse does not know', undefined, [found.id, mine.id]],
] as const) {
  test(`what was found ${what}`, async (t) => {
    const { pulse, set, connect } = setUp();
    connect(known);
    set(mine, found);
    t.same(pulse.asked.at(-1), { kind: 'carries', incarnation: 3, roles: told });
    connect([]);
    t.same(pulse.asked.at(-1), { kind: 'carries', incarnation: 3, roles: told }, 'another pulse');
  });
}

test('a pulse that does not know the question is not asked again', async (t) => {
  const { pulse, set, connect } = setUp();
  pulse.answer = () => ({ kind: 'error', code: 'US_PULSE_REQUEST', message: 'what?' });
  connect();
  await new Promise((resolve) => setImmediate(resolve));
  set(mine);
  t.equal(pulse.asked.length, 1);
  connect();
  t.equal(pulse.asked.length, 2, 'another may');
});
