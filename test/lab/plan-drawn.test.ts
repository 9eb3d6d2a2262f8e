import { test } from 'tap';
import { planDrawnChanges } from './plan-drawn.js';

test('three drawn changes: what plan says is what observers then see', (t) =>
  planDrawnChanges(t, { cluster: 'drawn', seed: 1, count: 3 }));
