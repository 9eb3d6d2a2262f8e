import tap, { test } from 'tap';
import { userWorld } from '../storage/attached.js';
import { startLunServer } from '../storage/lun-server.js';
import { verifyDevice, verifyFiles } from '../storage/write-verify.js';

const minutes = Number(process.env.UNDERSTUDY_VERIFY_MINUTES ?? 30);
tap.setTimeout((minutes + 5) * 60_000);

test(`${minutes} min of writing and reading back`, async (t) => {
  const endMs = performance.now() + minutes * 60_000;
  let rounds = 0;
  while (performance.now() < endMs) {
    rounds += 1;
    // Each on a target daemon of its own, so that nothing piles up.
    await t.test(`round ${rounds}`, async (t) => {
      const world = userWorld(await startLunServer(t, 3300 + (rounds % 100)));
      await verifyDevice(t, world, rounds);
      await verifyFiles(t, world, rounds, 'ext4');
      await verifyFiles(t, world, rounds, 'xfs');
    });
  }
  t.comment(`${rounds} rounds`);
});
