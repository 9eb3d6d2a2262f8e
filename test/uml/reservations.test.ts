import tap, { test } from 'tap';
import { guestMissing } from './guest.js';
import { lioModules, passes, volumeModules } from './passes.js';

const missing = guestMissing();
const options = missing === undefined ? {} : { skip: missing };
tap.setTimeout(480_000);
const program = (path: string) => new URL(path, import.meta.url);

test('reservations on LIO, in a guest whose kernel has it', options, (t) =>
  passes(t, program('./lio-reservations.js'), lioModules),
);

test('a volume that its reservation fences moves from host to host', options, (t) =>
  passes(t, program('./lio-takeover.js'), volumeModules),
);

test('LIO is restarted, and has forgotten or not', options, (t) =>
  passes(t, program('./lio-restart.js'), volumeModules),
);

test('LUNs of LIO that cannot be used, each by its code', options, (t) =>
  passes(t, program('./lio-bad-luns.js'), volumeModules),
);
