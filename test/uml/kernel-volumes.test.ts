import tap, { test } from 'tap';
import { guestMissing } from './guest.js';
import { kernelModules, passes, pathModules } from './passes.js';

const missing = guestMissing();
const options = missing === undefined ? {} : { skip: missing };
tap.setTimeout(620_000);

const program = (path: string) => new URL(path, import.meta.url);

test('the kernel’s own initiator, in a guest whose kernel has it', options, (t) =>
  passes(t, program('./kernel-volumes.js'), kernelModules),
);

test('its volumes move from host to host by their reservation', options, (t) =>
  passes(t, program('./kernel-takeover.js'), kernelModules),
);

test('what is refused, and what is written to them', options, (t) =>
  passes(t, program('./kernel-more.js'), [...kernelModules, 'veth', 'xfs'], {
    ...{ memoryMiB: 1_024, timeoutMs: 300_000 },
  }),
);

test('volumes with two portals: both are registered, and both thrown out', options, (t) =>
  passes(t, program('./kernel-paths.js'), pathModules, { argv: ['short'] }),
);
