import tap, { test } from 'tap';
import { scanFor } from '../dispatch/scan.js';

tap.setTimeout(180_000);

test('a minute of scans and garbage on the wire: clients are answered, and each frame is counted once', async (t) => {
  await scanFor(t, 60_000);
});
