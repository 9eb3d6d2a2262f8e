import { test } from 'tap';
import { chosenKinds } from '../../src/simulate/kinds.js';
import { Random } from '../../src/simulate/random.js';

const all = Array.from({ length: 12 }, (_, index) => `kind-${index}`);
const chosenBy = (seed: number) => chosenKinds(all, new Random(seed, 'kinds'));
const seeds = Array.from({ length: 1_000 }, (_, index) => index + 1);

test('a seed always chooses the same kinds, each once', (t) => {
  for (const seed of seeds) {
    const chosen = chosenBy(seed);
    t.same(chosenBy(seed), chosen);
    t.equal(new Set(chosen).size, chosen.length);
  }
  t.end();
});

test('many runs have all kinds, many only one, and each kind comes alone', (t) => {
  const runs = seeds.map(chosenBy);
  const alone = runs.filter(({ length }) => length === 1).map(([kind]) => kind);
  t.ok(runs.filter(({ length }) => length === all.length).length > 300);
  t.same(new Set(alone), new Set(all));
  t.end();
});
