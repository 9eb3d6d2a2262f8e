import fc from 'fast-check';
import { test } from 'tap';
import type { Rules } from '../../../src/control/lease/rules.js';
import { play, stories } from './story.js';
import type { StoreRules } from './vote-store.js';

/** A failover is never committed while the old host may still be on its networks. */
function search(rules: Partial<Rules>, numRuns: number, storeRules: Partial<StoreRules> = {}) {
  const told = stories(rules, storeRules);
  const property = fc.property(told, (story) => play(story).violation === undefined);
  return fc.check(property, { numRuns, seed: 20_261, endOnFailure: true });
}

test('no failover is committed while the old host holds its lease', async (t) => {
  let commits = 0;
  let effective = 0;
  let withdrawals = 0;
  const property = fc.property(stories(), (story) => {
    const world = play(story);
    if (world.committedUs !== undefined) commits++;
    if (world.host.effective) effective++;
    withdrawals += world.withdrawals;
    return world.violation === undefined;
  });
  const found = fc.check(property, { numRuns: 1_500, seed: 7, endOnFailure: true });
  t.equal(found.failed, false, JSON.stringify(found.counterexample));
  t.ok(commits > 200, `${commits} stories reached a failover`);
  t.ok(effective > 100, `${effective} stories ended with the lease held`);
  t.ok(withdrawals > 100, `${withdrawals} votes were withdrawn`);
});

const needed: readonly (keyof Rules)[] = [
  'countFromSending',
  'majority',
  'distinctControllers',
  'strictlyBefore',
  'ownNonceOnly',
  'ackOnlyWhenControlled',
  'refuseStopped',
  'stopAfterPromise',
  'waitAfterStart',
  'rememberLonger',
  'margin',
  'promiseFromReceipt',
];

for (const rule of needed) {
  test(`without the rule ${rule} there are two owners`, async (t) => {
    const found = search({ [rule]: false }, 6_000);
    t.equal(found.failed, true, `no violation in ${found.numRuns} stories`);
    t.comment(`seen after ${found.numRuns} stories`);
  });
}

const neededOfStore: readonly (keyof StoreRules)[] = [
  'fenced',
  'standing',
  'writtenFirst',
  'minority',
];

for (const rule of neededOfStore) {
  test(`without the rule ${rule} of withdrawals there are two owners`, async (t) => {
    const found = search({}, 6_000, { [rule]: false });
    t.equal(found.failed, true, `no violation in ${found.numRuns} stories`);
    t.comment(`seen after ${found.numRuns} stories`);
  });
}
