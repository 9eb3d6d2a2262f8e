import { test } from 'tap';
import { cutInARow } from '../lab/power-cuts.js';

test('twenty power cuts in a row: each taken over within a second, nothing synced is lost', (t) =>
  cutInARow(t, 20));
