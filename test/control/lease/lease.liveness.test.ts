import { test } from 'tap';
import type { Rules } from '../../../src/control/lease/rules.js';
import { World } from './world.js';
import type { LinkState } from './world-network.js';

const leaseMs = 200;
const marginPercent = 1;
const promiseUs = leaseMs * (1 + marginPercent / 100) * 1_000;
const delayUs = 5_000;
const good: LinkState = { lossPercent: 0, delayUs: [0, delayUs], duplicatePercent: 0 };
const forGoodUs = 60_000_000;
const dead: LinkState = { lossPercent: 100, delayUs: [0, 0], duplicatePercent: 0 };

function calmWorld(seed: number, rules: Partial<Rules> = {}): World {
  const world = new World({
    controllers: 3,
    seed,
    rules,
    leaseMs,
    heartbeatMs: 50,
    marginPercent,
    rates: [1, 1, 1, 1],
    offsetsUs: [0, 17_000, 900_000, 3_000_000],
    stopDelayUs: 0,
    voteDelayUs: 0,
    lostAnswersPercent: 0,
  });
  for (const index of [0, 1, 2]) world.setLink(index, good, good);
  world.runUs(1_000_000 + (seed % 50) * 1_000);
  return world;
}

const seeds = Array.from({ length: 50 }, (_, seed) => seed + 1);

test('a calm network never lapses a lease, whichever single controller restarts', async (t) => {
  for (const seed of seeds) {
    const world = calmWorld(seed);
    for (let step = 0; step < 30; step++) {
      if (step % 10 === 3) world.restartController(step % 3, 30_000, 100_000);
      world.runUs(20_000);
      if (!world.host.effective) t.fail(`seed ${seed}: lapsed at ${world.nowUs} µs`);
    }
  }
  t.pass('held throughout');
});

test('a dead host is failed over within delay + lease × (1 + margin)', async (t) => {
  for (const seed of seeds) {
    const world = calmWorld(seed);
    world.killHost();
    const diedUs = world.nowUs;
    world.runUs(1_000_000);
    const tookUs = (world.committedUs ?? Infinity) - diedUs;
    if (tookUs > delayUs + promiseUs + 10) t.fail(`seed ${seed}: took ${tookUs} µs`);
  }
  t.pass('all in time');
});

test('a host that one hears, another does not, and the third is dead is failed over', async (t) => {
  for (const seed of seeds) {
    const world = calmWorld(seed);
    world.restartController(0, forGoodUs, 0);
    world.setLink(1, dead, dead);
    const cutUs = world.nowUs;
    world.runUs(3_000_000);
    // Its lease, five more until it says so, two for which it goes on saying so, the last promise.
    const tookUs = (world.committedUs ?? Infinity) - cutUs;
    if (tookUs > 9.2 * promiseUs) t.fail(`seed ${seed}: took ${tookUs} µs`);
    if (world.violation !== undefined) t.fail(world.violation);
  }
  t.pass('all in time');
});

test('a link that is cut for a moment, and a dead controller, cost the host its roles in no case', async (t) => {
  for (const seed of seeds) {
    const world = calmWorld(seed);
    world.restartController(0, forGoodUs, 0);
    world.setLink(1, dead, dead);
    world.runUs(300_000 + (seed % 10) * 30_000);
    world.setLink(1, good, good);
    world.runUs(3_000_000);
    if (world.committedUs !== undefined) t.fail(`seed ${seed}: failed over`);
    if (!world.host.effective) t.fail(`seed ${seed}: not effective`);
  }
  t.pass('it holds its lease again');
});

/** A host that hears nothing, but is heard: takeover after its last echo ran out, at the latest. */
function oneWayTakeoverUs(rules: Partial<Rules>): number {
  const world = calmWorld(7, rules);
  for (const index of [0, 1, 2]) world.setLink(index, good, dead);
  const cutUs = world.nowUs;
  world.runUs(3_000_000);
  return (world.committedUs ?? Infinity) - cutUs;
}

test('a host that hears no acks is failed over although its heartbeats arrive', async (t) => {
  // Its echoes stay fresh for one lease after the last answer that it got.
  t.ok(oneWayTakeoverUs({}) <= 2 * delayUs + leaseMs * 1_000 + promiseUs);
  t.equal(oneWayTakeoverUs({ echo: false }), Infinity, 'without the echo it stays dark for good');
});

/** A host that died while somebody replays all it ever sent. */
function replayedTakeoverUs(rules: Partial<Rules>): number {
  const world = calmWorld(11, rules);
  world.killHost();
  const diedUs = world.nowUs;
  for (let step = 0; step < 200; step++) {
    world.replay(20, 'heartbeats');
    world.runUs(10_000);
  }
  return (world.committedUs ?? Infinity) - diedUs;
}

test('replayed heartbeats of a dead host do not hold up its failover', async (t) => {
  t.ok(replayedTakeoverUs({}) <= delayUs + promiseUs + 10);
  const without = replayedTakeoverUs({ newerOnly: false });
  t.ok(without > delayUs + promiseUs + 10, `accepting old ones: ${without / 1_000} ms`);
  t.equal(replayedTakeoverUs({ newerOnly: false, echo: false }), Infinity, 'with neither, never');
});

test('a host that died while a controller was down is voted by that one too', async (t) => {
  const world = calmWorld(3);
  world.setLink(0, dead, dead);
  for (const index of [1, 2]) world.restartController(index, 100_000, 50_000);
  world.killHost();
  world.runUs(150_000 + promiseUs);
  t.equal(world.committedUs, undefined, 'not before the promises of the earlier processes ended');
  world.runUs(5 * leaseMs * 1_000);
  t.ok(world.committedUs, 'but then');
});

test('a host that was voted out learns that a majority refuses it when it is back', async (t) => {
  const world = calmWorld(5);
  for (const index of [0, 1, 2]) world.setLink(index, dead, dead);
  world.runUs(1_000_000);
  t.ok(world.committedUs);
  t.notOk(world.host.refused);
  for (const index of [0, 1, 2]) world.setLink(index, good, good);
  world.runUs(100_000);
  t.ok(world.host.refused);
  t.notOk(world.host.effective);
});
