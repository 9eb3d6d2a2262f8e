import { test } from 'tap';
import { nothingHappensWhileSaturated } from '../lab/saturation.js';

test('10 minutes with all cores saturated: no false failover', { timeout: 900_000 }, (t) =>
  nothingHappensWhileSaturated(t, 600_000),
);
