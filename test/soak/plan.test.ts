import { test } from 'tap';
import { planDrawnChanges } from '../lab/plan-drawn.js';

const seed = Number(process.env.UNDERSTUDY_SEED ?? 1);

test('50 drawn changes: what plan says is what observers then see', { timeout: 1_800_000 }, (t) =>
  planDrawnChanges(t, { cluster: 'drawn', seed, count: 50 }),
);
