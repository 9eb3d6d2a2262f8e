import { test } from 'tap';
import { run } from '../../src/simulate/run.js';
import { variant } from '../../src/simulate/variant.js';
import { type Mutant, mutants, seedsOfThree, withRules } from './mutants.js';

/** Runs of the broken product until a check notices. */
async function hunt({ rules = {}, sabotage, kinds, faults = 12, seeds, firstSeed }: Mutant) {
  for (const seed of seedsOfThree(firstSeed, seeds)) {
    const result = await withRules(rules, () =>
      run({
        config: variant(seed),
        seed,
        faults,
        ...(sabotage === undefined ? {} : { sabotage: sabotage() }),
        ...(kinds === undefined ? {} : { kinds }),
      }),
    );
    const [violation] = result.violations;
    if (violation !== undefined) return { seed, violation };
  }
  return undefined;
}

for (const mutant of mutants) {
  test(`${mutant.name} is caught: ${mutant.broken}`, async (t) => {
    const caught = await hunt(mutant);
    t.ok(caught, `within ${mutant.seeds} seeds`);
    if (caught === undefined) return;
    t.comment(`seed ${caught.seed}: ${caught.violation.invariant}: ${caught.violation.text}`);
    const { kinds, faults = 12 } = mutant;
    const honest = await run({
      config: variant(caught.seed),
      seed: caught.seed,
      faults,
      ...(kinds === undefined ? {} : { kinds }),
    });
    t.same(honest.violations, [], 'the same seed without the mutant breaks nothing');
  });
}
