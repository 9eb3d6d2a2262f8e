import { test } from 'tap';
import { conforms } from '../storage/conformance.js';
import { startLunServer } from '../storage/lun-server.js';

/** Of the old kind (SPC-2), which nothing here uses; their cases wait for seconds at a time. */
test('libiscsi’s cases of RESERVE(6) on tgt', async (t) => {
  const server = await startLunServer(t, 3281);
  await conforms(t, server, ['Reserve6'], {
    'Reserve6.2Initiators': /MODESENSE6 successful but should have failed/,
  });
});
