import tap, { test } from 'tap';
import { Dice, modes, serviceOf } from '../dispatch/any-frames.js';
import { garbageAddsUp } from '../dispatch/garbage.js';
import { TestPlane } from '../dispatch/plane.js';

tap.setTimeout(180_000);
const forMs = 60_000;
const atOnce = 2_000;

test('a minute of garbage: no crash, and every frame is counted once', async (t) => {
  const seed = Math.floor(Math.random() * 2 ** 31);
  t.comment(`seed ${seed}`);
  const plane = new TestPlane(t);
  const specs = modes.map(serviceOf);
  await plane.update(...specs);
  const dice = new Dice(seed);
  const endMs = performance.now() + forMs;
  let frames = 0;
  while (performance.now() < endMs) {
    const problems = garbageAddsUp(plane, specs, dice, atOnce);
    frames += atOnce;
    if (problems.length > 0) {
      t.same(problems, []);
      return;
    }
  }
  t.ok(frames > 0, `${frames} frames`);
});
