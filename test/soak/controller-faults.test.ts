import { test } from 'tap';
import { faultsOfControllers } from '../lab/controller-faults.js';

test('fifty faults of one controller after the other: no lease lapses, no ping is lost', (t) =>
  faultsOfControllers(t, 50));
