import fc from 'fast-check';
import { test } from 'tap';
import {
  nextStepMs,
  slowStartSteps,
  slowStep,
  startingWeight,
} from '../../src/control/slow-start.js';

const length = fc.integer({ min: 1_000, max: 86_400_000 });

test('steps come one after the other, each when it was said to come, and end with the whole weight', (t) => {
  const property = fc.property(
    length,
    fc.integer({ min: 0, max: 1_000 }),
    (slowStartMs, weight) => {
      let sinceMs = 0;
      for (let step = 1; step <= slowStartSteps; step += 1) {
        if (slowStep(sinceMs, slowStartMs) !== step) return false;
        const waitMs = nextStepMs(sinceMs, slowStartMs);
        if ((waitMs === undefined) !== (step === slowStartSteps)) return false;
        if (waitMs === undefined) break;
        if (waitMs < 1 || slowStep(sinceMs + waitMs - 1, slowStartMs) !== step) return false;
        if (startingWeight(weight, step) > startingWeight(weight, step + 1)) return false;
        sinceMs += waitMs;
      }
      return sinceMs <= slowStartMs && startingWeight(weight, slowStartSteps) === weight;
    },
  );
  t.doesNotThrow(() => fc.assert(property));
  t.end();
});

test('a member of weight 0 stays at it, and what says no step has its weight', (t) => {
  t.equal(startingWeight(0, 3), 0);
  t.equal(startingWeight(5, undefined), 5);
  t.equal(startingWeight(5, 0), 5, 'of another version');
  t.equal(startingWeight(5, 2.5), 5);
  t.equal(startingWeight(5, Number.NaN), 5);
  t.equal(startingWeight(4, 2), 1);
  t.end();
});
