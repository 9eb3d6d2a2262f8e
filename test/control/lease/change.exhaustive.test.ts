import { test } from 'tap';
import { type BrokenRule, ChangeModel } from './change-model.js';
import { search } from './state-search.js';

/** Bigger ones take minutes: test/soak/change-model.test.ts. */
const one = { old: [0], next: [1], leaseTicks: 2 };
const more = { old: [0], next: [0, 1], leaseTicks: 1 };

test('no state is reachable in which a failover is committed and the old host holds its lease', async (t) => {
  for (const options of [one, more]) {
    const { states, transitions, story } = search(new ChangeModel(options));
    t.same(story, undefined);
    t.comment(`${JSON.stringify(options)}: ${states} states, ${transitions} transitions`);
  }
});

const rules: readonly BrokenRule[] = [
  'the new majority alone commits',
  'the old majority alone carries a lease',
  'a controller acks a set it has not read',
  'nobody refuses the old set',
  'the last lease is not waited for',
  'a refusal is forgotten by a restart',
  'a refusal from before a restart still lands',
  'a commit lands without the vote that it was sent with',
  'no joint configuration',
];
for (const broken of rules) {
  test(`there is one if ${broken}`, async (t) => {
    const { states, story } = search(new ChangeModel({ ...one, broken }));
    t.ok(story, `in ${states} states`);
    t.comment(story?.join('; '));
  });
}
