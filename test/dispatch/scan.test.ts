import tap, { test } from 'tap';
import { scanFor } from './scan.js';

tap.setTimeout(120_000);

test('a scan and garbage on the wire: clients are answered, and each frame is counted once', async (t) => {
  await scanFor(t, 3_000);
});
