import { test } from 'tap';
import { faultKinds } from '../../src/simulate/faults.js';
import { run } from '../../src/simulate/run.js';
import { faultsIn, series, simulatedPerSecond } from '../../src/simulate/series.js';
import { variant } from '../../src/simulate/variant.js';

/** The nightly size is scripts/simulate-nightly.mjs; all of this takes a minute where others use the cores too. */
const seeds = 12;
const faultsEach = 12;

test(`${seeds} seeds: no rule is ever broken, and everything works again`, async (t) => {
  const totals = await series({
    firstSeed: 1,
    faults: faultsEach,
    signal: new AbortController().signal,
    configOf: variant,
    more: ({ runs }) => runs < seeds,
  });
  for (const { seed, invariant, text } of totals.violations) {
    t.fail(`${invariant}: ${text}`, {
      replay: `npm run simulate:nightly -- --first ${seed} --seeds 1 --faults ${faultsEach} --tell`,
    });
  }
  t.equal(faultsIn(totals), seeds * faultsEach);
  t.ok(totals.gaps.size > 0, 'roles did move');
  t.comment(`${Math.round(simulatedPerSecond(totals))} simulated seconds a second`);
});

test('a seed reproduces its whole run', async (t) => {
  const config = variant(7);
  const tellTo = (lines: string[]) => (atMs: number, text: string) => {
    lines.push(`${atMs} ${text}`);
  };
  const [first, second]: [string[], string[]] = [[], []];
  const one = await run({ config, seed: 7, faults: 20, tell: tellTo(first) });
  const two = await run({ config, seed: 7, faults: 20, tell: tellTo(second) });
  t.same(first, second);
  t.same(one, two, 'down to the number of events');
  const other = await run({ config, seed: 8, faults: 20 });
  t.not(other.events, one.events);
});

test('every kind of fault can happen', async (t) => {
  // Three hosts, leases of 200 ms: the least work.
  const config = variant(4);
  for (const kind of Object.keys(faultKinds)) {
    const { faults, violations } = await run({ config, seed: 1, faults: 1, kinds: [kind] });
    t.same([faults.length, violations], [1, []], kind);
  }
});
