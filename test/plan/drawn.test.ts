import { test } from 'tap';
import { parseClusterFile } from '../../src/config/parse.js';
import { Random } from '../../src/simulate/random.js';
import { drawnFile, fileText, nextFile } from '../lab/plan-changes.js';

test('drawn files are sound, differ from one another, and are the same for a seed', (t) => {
  const told = new Set<string>();
  for (let seed = 1; seed <= 3; seed++) {
    const random = new Random(seed, 'plan');
    let file = drawnFile('drawn');
    for (let index = 0; index < 30; index++) {
      const before = fileText(file);
      const next = nextFile(file, random);
      for (const what of next.what.split(', ')) told.add(what);
      file = next.file;
      const parsed = parseClusterFile(fileText(file));
      if (!parsed.ok) t.fail(`seed ${seed}, ${next.what}: ${JSON.stringify(parsed.problems)}`);
      if (before === fileText(file)) t.fail(`seed ${seed}: ${next.what} changes nothing`);
    }
  }
  t.ok(told.size >= 14, `${told.size} kinds of change`);
  const first = (seed: number) => nextFile(drawnFile('drawn'), new Random(seed, 'plan')).what;
  t.equal(first(7), first(7));
  t.end();
});
