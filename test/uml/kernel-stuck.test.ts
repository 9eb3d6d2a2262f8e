import tap, { test } from 'tap';
import { guestMissing } from './guest.js';
import { kernelModules, passes } from './passes.js';

const missing = guestMissing();
const options = missing === undefined ? {} : { skip: missing };
tap.setTimeout(260_000);

test('a session of the kernel’s that would never log in again is mended', options, (t) =>
  passes(t, new URL('./kernel-stuck.js', import.meta.url), kernelModules),
);
