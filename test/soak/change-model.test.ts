import { test } from 'tap';
import { ChangeModel } from '../control/lease/change-model.js';
import { search } from '../control/lease/state-search.js';

/** From one controller to three, and back: half a million and three million states. */
for (const [old, next] of [
  [[0], [0, 1, 2]],
  [[0, 1, 2], [0]],
] as const) {
  test(`controllers ${old} → ${next}: in no state are there two owners`, async (t) => {
    const { states, transitions, story } = search(new ChangeModel({ old, next, leaseTicks: 1 }));
    t.same(story, undefined);
    t.comment(`${states} states, ${transitions} transitions`);
  });
}
