import { test } from 'tap';
import { cutInARow } from './power-cuts.js';

/** Twenty of them: npm run test:soak. */
test('seven power cuts in a row: each taken over within a second, nothing synced is lost', (t) =>
  cutInARow(t, 7));
