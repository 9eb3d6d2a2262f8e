import tap, { test } from 'tap';
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
      const server = await startLunServer(t, 3300 + (rounds % 100));
      await verifyDevice(t, server, 1, rounds);
      await verifyFiles(t, server, 2, rounds, 'ext4');
      await verifyFiles(t, server, 3, rounds, 'xfs');
    });
  }
  t.comment(`${rounds} rounds`);
});
