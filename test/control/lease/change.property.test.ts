import fc from 'fast-check';
import { test } from 'tap';
import type { Rules } from '../../../src/control/lease/rules.js';
import { changeStories, hastyChange, play, unheardChange } from './story.js';
import type { StoreRules } from './vote-store.js';

function search(
  rules: Partial<Rules>,
  numRuns: number,
  storeRules: Partial<StoreRules> = {},
  happening = hastyChange,
) {
  const stories = changeStories(rules, storeRules, happening);
  const property = fc.property(stories, (story) => play(story).violation === undefined);
  return fc.check(property, { numRuns, seed: 20_261, endOnFailure: true });
}

test('no failover is committed while the old host holds its lease, whoever is controller', async (t) => {
  let commits = 0;
  let effective = 0;
  let finished = 0;
  const property = fc.property(changeStories(), (story) => {
    const world = play(story);
    if (world.committedUs !== undefined) commits++;
    if (world.host.effective) effective++;
    finished += world.change.finished;
    return world.violation === undefined;
  });
  const found = fc.check(property, { numRuns: 1_500, seed: 7, endOnFailure: true });
  t.equal(found.failed, false, JSON.stringify(found.counterexample));
  t.ok(commits > 300, `${commits} stories reached a failover`);
  t.ok(effective > 100, `${effective} stories ended with the lease held`);
  t.ok(finished > 150, `${finished} changes came to their end`);
  t.comment({ commits, effective, finished });
});

const needed: readonly (keyof Rules)[] = ['leaseOfBothSets', 'readSetFirst', 'refuseOldSet'];
for (const rule of needed) {
  test(`without the rule ${rule} there are two owners`, async (t) => {
    const found = search({ [rule]: false }, 20_000);
    t.equal(found.failed, true, `no violation in ${found.numRuns} stories`);
    t.comment(`seen after ${found.numRuns} stories`);
  });
}

const neededOfStore: readonly (keyof StoreRules)[] = [
  'bothCommit',
  'lastLeaseWaited',
  'oldSetRefused',
  'refusalDurable',
  'refusalFenced',
];
for (const rule of neededOfStore) {
  test(`without the rule ${rule} of a change there are two owners`, async (t) => {
    const happening = rule === 'refusalFenced' ? unheardChange : hastyChange;
    const found = search({}, 20_000, { [rule]: false }, happening);
    t.equal(found.failed, true, `no violation in ${found.numRuns} stories`);
    t.comment(`seen after ${found.numRuns} stories`);
  });
}
