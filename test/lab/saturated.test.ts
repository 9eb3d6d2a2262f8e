import { test } from 'tap';
import { nothingHappensWhileSaturated } from './saturation.js';

/** Ten minutes of it: npm run test:soak. */
test('20 seconds with all cores saturated: no false failover', (t) =>
  nothingHappensWhileSaturated(t, 20_000));
