import tap, { test } from 'tap';
import { startInitiator } from './initiator.js';
import { kernelData } from './kernel-data.js';
import { kernelOptions } from './kernel-options.js';
import { startLio } from './lio.js';

/** Run in a guest whose kernel has LIO and an iSCSI initiator: kernel-options.ts, and
 * kernel-data.ts for long. */
tap.setTimeout(1_700_000);

test('the kernel backend, for long', async (t) => {
  startLio();
  startInitiator(t);
  await kernelOptions(t);
  await kernelData(t, { cutSeconds: 60, rounds: 8, eachMiB: 4 });
});
