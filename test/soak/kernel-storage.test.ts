import tap, { test } from 'tap';
import { guestMissing } from '../uml/guest.js';
import { kernelModules, passes, pathModules } from '../uml/passes.js';

const missing = guestMissing();
const options = missing === undefined ? {} : { skip: missing };
tap.setTimeout(3_600_000);
const program = (path: string) => new URL(path, import.meta.url);

test('the kernel backend: eight rounds of writing and reading back, a cut of 60 s', options, (t) =>
  passes(t, program('../uml/kernel-soak.js'), [...kernelModules, 'veth', 'xfs'], {
    ...{ memoryMiB: 1_024, timeoutMs: 1_750_000 },
  }),
);

test('the kernel backend on tgt', options, (t) =>
  passes(t, program('../uml/kernel-tgt.js'), ['iscsi_tcp', 'sd_mod', 'ext4', 'xfs'], {
    ...{ memoryMiB: 1_024, timeoutMs: 650_000 },
  }),
);

test('the kernel backend on two paths: each cut, both cut, fenced on each', options, (t) =>
  passes(t, program('../uml/kernel-paths.js'), pathModules, {
    ...{ memoryMiB: 1_024, timeoutMs: 650_000 },
  }),
);

test('a path whose session would never log in again is mended', options, (t) =>
  passes(t, program('../uml/kernel-stuck.js'), pathModules, { argv: ['paths'] }),
);
