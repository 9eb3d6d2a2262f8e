import { test } from 'tap';
import { startLunServer } from './lun-server.js';
import { verifyDevice, verifyFiles } from './write-verify.js';

/** `npm run test:verify` does this for half an hour. */
test('what was written is read, on every way, from everywhere', async (t) => {
  const server = await startLunServer(t, 3290);
  await verifyDevice(t, server, 1, 1);
  await verifyFiles(t, server, 2, 1, 'ext4');
});
