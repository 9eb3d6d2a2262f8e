import tap, { test } from 'tap';
import { guestMissing } from './guest.js';
import { passes, pathModules } from './passes.js';

const missing = guestMissing();
const options = missing === undefined ? {} : { skip: missing };
tap.setTimeout(260_000);

test('mutual CHAP on two paths', options, (t) =>
  passes(t, new URL('./kernel-chap.js', import.meta.url), pathModules),
);
