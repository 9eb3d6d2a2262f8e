import { test } from 'tap';
import { faultsOfControllers } from './controller-faults.js';

/** Three of each kind. Fifty of them: npm run test:soak. */
test('21 faults of one controller after the other: no lease lapses, no ping is lost', (t) =>
  faultsOfControllers(t, 21));
