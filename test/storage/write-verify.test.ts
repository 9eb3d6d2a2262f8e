import { test } from 'tap';
import { userWorld } from './attached.js';
import { startLunServer } from './lun-server.js';
import { verifyDevice, verifyFiles } from './write-verify.js';

/** `npm run test:verify` does this for half an hour. */
test('what was written is read, on every way, from everywhere', async (t) => {
  const world = userWorld(await startLunServer(t, 3290));
  await verifyDevice(t, world, 1);
  await verifyFiles(t, world, 1, 'ext4');
});
