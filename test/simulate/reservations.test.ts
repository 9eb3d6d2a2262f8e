import { test } from 'tap';
import type { ClusterConfig } from '../../src/config/types.js';
import { run } from '../../src/simulate/run.js';
import { faultsIn, series } from '../../src/simulate/series.js';
import { variant } from '../../src/simulate/variant.js';

/** The product's own takeovers where reservations fence every volume, and nothing beside the target does. */
const seeds = 10;
const faultsEach = 12;

function reserving(seed: number): ClusterConfig {
  const config = variant(seed);
  const volumes = config.volumes.map((one) => ({ ...one, fence: 'reservation' as const }));
  return { ...config, volumes };
}

test(`${seeds} seeds with reservations: no rule is ever broken`, async (t) => {
  const totals = await series({
    firstSeed: 1,
    faults: faultsEach,
    signal: new AbortController().signal,
    configOf: reserving,
    more: ({ runs }) => runs < seeds,
  });
  for (const { seed, invariant, text } of totals.violations)
    t.fail(`${invariant}: ${text}`, { seed });
  t.equal(faultsIn(totals), seeds * faultsEach);
  t.ok(totals.gaps.size > 0, 'roles did move');
});

test('a target that throws nobody out is noticed', async (t) => {
  let broken = 0;
  for (let seed = 1; seed <= 40 && broken === 0; seed += 1) {
    const sabotage = { openTarget: true };
    const { violations } = await run({
      config: reserving(seed),
      seed,
      faults: faultsEach,
      sabotage,
    });
    broken += violations.length;
  }
  t.ok(broken > 0);
});
