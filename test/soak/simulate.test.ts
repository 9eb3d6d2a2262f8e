import { test } from 'tap';
import {
  changesUnderFaults,
  halfHeard,
  madeUpClusters,
  movesThatWait,
  noLeaseLapses,
  nothingIsDisturbed,
  powerCuts,
} from '../simulate/many-seeds.js';

test('power cuts under 20 seeds: the lease, and then what a takeover takes', (t) =>
  powerCuts(t, 20));

test('faults of one controller after the other lapse no lease, under 40 seeds', (t) =>
  noLeaseLapses(t, 40));

test('the store is slow, away or without a leader under 40 seeds: nothing is disturbed', (t) =>
  nothingIsDisturbed(t, 40));

test('100 made-up clusters work soon after power on', (t) => madeUpClusters(t, 100));

test('a planned move waits for whoever is away, under every seed that once showed otherwise', (t) =>
  movesThatWait(t, [1, 24, 33]));

// Three controllers and five, leases of 50 ms, 200 ms and a second.
test('a host that some controllers alone hear is failed over', (t) =>
  halfHeard(t, [3, 5, 16, 31, 54, 58, 59]));

test('controllers change under faults', (t) => changesUnderFaults(t));
