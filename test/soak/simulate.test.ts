import { test } from 'tap';
import {
  madeUpClusters,
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
