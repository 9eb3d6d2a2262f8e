import { test } from 'tap';
import { nothingHappensWhileSaturated } from './saturation.js';

/** Ten minutes of it: npm run test:soak. */
test('45 seconds with all cores saturated: no false failover', (t) =>
  nothingHappensWhileSaturated(t, 45_000));
