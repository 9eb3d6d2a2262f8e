import tap, { test } from 'tap';
import { guestMissing } from './guest.js';
import { passes, volumeModules } from './passes.js';

const missing = guestMissing();
const options = missing === undefined ? {} : { skip: missing };
tap.setTimeout(240_000);
const program = (path: string) => new URL(path, import.meta.url);

test('masks on LIO, by LUN and initiator', options, (t) =>
  passes(t, program('./lio-mask.js'), volumeModules),
);
