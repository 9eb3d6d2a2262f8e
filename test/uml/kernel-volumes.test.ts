import tap, { test } from 'tap';
import { guestMissing } from './guest.js';
import { lioModules, passes } from './passes.js';

const missing = guestMissing();
const options = missing === undefined ? {} : { skip: missing };
tap.setTimeout(320_000);

const modules = [...lioModules, 'iscsi_tcp', 'sd_mod', 'ext4'];
const program = (path: string) => new URL(path, import.meta.url);

test('the kernel’s own initiator, in a guest whose kernel has it', options, (t) =>
  passes(t, program('./kernel-volumes.js'), modules),
);

test('its volumes move from host to host by their reservation', options, (t) =>
  passes(t, program('./kernel-takeover.js'), modules),
);
