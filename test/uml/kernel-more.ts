import tap, { test } from 'tap';
import { refusalCases } from '../storage/refusal-cases.js';
import { startInitiator } from './initiator.js';
import { kernelData } from './kernel-data.js';
import { kernelWorld } from './kernel-world.js';
import { startLio } from './lio.js';

/** Run in a guest whose kernel has LIO and an iSCSI initiator: what the latter's volumes may not be, and what they hold. */
tap.setTimeout(280_000);

test('more of the kernel backend', async (t) => {
  startLio();
  startInitiator(t);
  await refusalCases(t, kernelWorld);
  await kernelData(t, { cutSeconds: 5, rounds: 1, eachMiB: 1 });
});
