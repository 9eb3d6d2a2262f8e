import tap, { test } from 'tap';
import { guestMissing } from '../uml/guest.js';
import { passes, volumeModules } from '../uml/passes.js';

const missing = guestMissing();
const options = missing === undefined ? {} : { skip: missing };
tap.setTimeout(300_000);

test('the commands of docs/targets.md for LIO', options, (t) =>
  passes(t, new URL('../uml/lio-recipe.js', import.meta.url), volumeModules),
);
