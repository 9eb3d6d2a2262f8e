import { test } from 'tap';
import { run } from '../../src/simulate/run.js';
import { variant } from '../../src/simulate/variant.js';
import {
  halfHeard,
  madeUpClusters,
  movesThatWait,
  noLeaseLapses,
  nothingIsDisturbed,
  powerCuts,
} from './many-seeds.js';

/** More seeds of each: npm run test:soak. */
test('a power cut: the lease, and then what a takeover takes', (t) => powerCuts(t, 1));

test('faults of one controller after the other lapse no lease', (t) => noLeaseLapses(t, 2));

test('the store may be slow, away or without a leader: nothing that runs is disturbed', (t) =>
  nothingIsDisturbed(t, 2));

test('made-up clusters work soon after power on, also those without enforced leases', (t) =>
  madeUpClusters(t, 4));

test('a planned move waits for whoever is away: the role goes on working', (t) =>
  movesThatWait(t, [24, 33]));

test('a controller that hears nobody, or that nobody hears, keeps no role from the others', async (t) => {
  // One fault each, 20 s long: cut off from the other hosts, not from the store.
  for (const seed of [34, 99]) {
    const { faults, violations } = await run({
      config: variant(seed),
      seed,
      faults: 1,
      kinds: ['isolated-for-long'],
    });
    t.match(faults, [{ text: /cut off/ }]);
    t.same(violations, []);
  }
});

test('what left before a power cut promises nothing after it', async (t) => {
  const kinds = ['link-cut', 'isolated', 'power-cut', 'etcd-slow'];
  const { violations } = await run({ config: variant(253), seed: 253, faults: 12, kinds });
  t.same(violations, []);
});

test('an owner with a lease waits for its disks: nobody else is asked to take its role', async (t) => {
  const kinds = ['target-killed', 'cut-from-disks', 'late-news', 'noisy-link', 'power-cut'];
  const { faults, violations } = await run({ config: variant(212), seed: 212, faults: 11, kinds });
  t.ok(faults.some(({ kind }) => kind === 'cut-from-disks'));
  t.same(violations, []);
});

test('what is given to a host that is cut off from etcd waits for it, and works then', async (t) => {
  for (const seed of [76, 133]) {
    const kinds = ['cut-from-store', 'drain', 'move'];
    const { faults, violations } = await run({ config: variant(seed), seed, faults: 6, kinds });
    t.ok(faults.some(({ kind }) => kind === 'cut-from-store'));
    t.same(violations, []);
  }
});

// Three controllers and five, leases of 200 ms, 50 ms and a second.
test('a host that some controllers hear, another does not and the rest are dead is failed over', (t) =>
  halfHeard(t, [3, 31, 58]));

test('what is given to a host whose agent stays away is given to another', async (t) => {
  const kinds = ['agent-gone-for-long', 'power-cut', 'move'];
  const { faults, violations } = await run({ config: variant(51), seed: 51, faults: 5, kinds });
  t.match(faults, [{ kind: 'agent-gone-for-long' }]);
  t.same(violations, []);
});
