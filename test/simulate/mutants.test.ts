import { test } from 'tap';
import { hunt, mutants } from './mutants.js';

/** Those that need more seeds are hunted by npm run simulate:mutants. */
const quick = mutants.filter(({ seeds }) => seeds <= 10);

for (const mutant of quick) {
  test(`${mutant.name} is caught: ${mutant.broken}`, async (t) => {
    const caught = await hunt(mutant);
    t.ok(caught, `within ${mutant.seeds} seeds`);
    if (caught === undefined) return;
    const { seed, violation, honest } = caught;
    t.comment(`seed ${seed}: ${violation.invariant}: ${violation.text}`);
    t.same(honest, [], 'the same seed without the mutant breaks nothing');
  });
}
