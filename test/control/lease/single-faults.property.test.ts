import fc from 'fast-check';
import { test } from 'tap';
import type { StoreRules } from './vote-store.js';
import { World } from './world.js';
import type { LinkState } from './world-network.js';

/** Something that happens to one controller, and how long it lasts. */
interface Fault {
  readonly kind: (typeof kinds)[number];
  readonly victim: number;
  readonly lengthMs: number;
}

const kinds = [
  'pulse-stands-still',
  'agent-stands-still',
  'both-stand-still',
  'both-restart',
  'agent-restarts',
  'network-is-cut',
  'acks-are-lost',
  'heartbeats-are-lost',
  'store-is-far',
  'network-and-store-are-cut',
] as const;

const good: LinkState = { lossPercent: 0, delayUs: [0, 2_000], duplicatePercent: 5 };
const dead: LinkState = { lossPercent: 100, delayUs: [0, 0], duplicatePercent: 0 };
/** More than a host that is refused too often has to wait. */
const patienceMs = 90_000;

interface Run {
  readonly controllers: number;
  readonly seed: number;
  readonly lostAnswersPercent: number;
  readonly voteDelayUs: number;
  readonly faults: readonly Fault[];
}

const runs: fc.Arbitrary<Run> = fc.constantFrom(3, 3, 5).chain((controllers) =>
  fc.record({
    controllers: fc.constant(controllers),
    seed: fc.integer({ min: 1, max: 1_000_000 }),
    lostAnswersPercent: fc.constantFrom(0, 0, 30),
    voteDelayUs: fc.constantFrom(0, 5_000, 80_000),
    faults: fc.array(
      fc.record({
        kind: fc.constantFrom(...kinds),
        victim: fc.integer({ min: 0, max: controllers - 1 }),
        lengthMs: fc.constantFrom(30, 150, 190, 210, 260, 450, 900, 2_500),
      }),
      { minLength: 8, maxLength: 16 },
    ),
  }),
);

const begin: Readonly<Record<Fault['kind'], (world: World, victim: number, us: number) => void>> = {
  'pulse-stands-still': (world, victim, us) => world.stallPulse(victim, us),
  'agent-stands-still': (world, victim, us) => world.stallAgent(victim, us),
  'both-stand-still': (world, victim, us) => {
    world.stallPulse(victim, us);
    world.stallAgent(victim, us);
  },
  'both-restart': (world, victim, us) => world.restartController(victim, us, 20_000),
  'agent-restarts': (world, victim) => world.restartAgent(victim),
  'network-is-cut': (world, victim) => world.setLink(victim, dead, dead),
  'acks-are-lost': (world, victim) => world.setLink(victim, good, dead),
  'heartbeats-are-lost': (world, victim) => world.setLink(victim, dead, good),
  'store-is-far': (world, victim, us) => world.cutStore(victim, us),
  'network-and-store-are-cut': (world, victim, us) => {
    world.cutStore(victim, us);
    world.setLink(victim, dead, dead);
  },
};

/** What went wrong, if anything: one controller at a time, and the next one when all ack again. */
function play(run: Run, storeRules: Partial<StoreRules> = {}) {
  const { controllers, seed, lostAnswersPercent, voteDelayUs } = run;
  const world = new World({
    controllers,
    seed,
    storeRules,
    lostAnswersPercent,
    voteDelayUs,
    leaseMs: 200,
    heartbeatMs: 50,
    marginPercent: 1,
    rates: [1, 1.009, 0.995, 1, 1.004, 0.997],
    offsetsUs: [0, 17_000, 900_000, 3_000_000, 5_000, 700_000],
    stopDelayUs: 1_000,
  });
  for (let index = 0; index < controllers; index++) world.setLink(index, good, good);
  world.runUs(1_000_000);
  const trouble = () => {
    if (world.host.lapses > 0 || !world.host.effective) return 'the lease lapsed';
    if (world.committedUs !== undefined) return 'a healthy host was failed over';
    return undefined;
  };
  for (const fault of run.faults) {
    begin[fault.kind](world, fault.victim, fault.lengthMs * 1_000);
    world.runUs(fault.lengthMs * 1_000);
    world.setLink(fault.victim, good, good);
    const sinceUs = world.nowUs;
    do world.runUs(50_000);
    while (!world.host.ackedByAll && world.nowUs - sinceUs < patienceMs * 1_000);
    if (!world.host.ackedByAll) return { world, trouble: 'it never recovered' };
    if (trouble() !== undefined) break;
  }
  return { world, trouble: trouble() };
}

test('no sequence of faults of single controllers lapses a lease', async (t) => {
  let withdrawals = 0;
  const property = fc.property(runs, (run) => {
    const { world, trouble } = play(run);
    withdrawals += world.withdrawals;
    return trouble === undefined;
  });
  const found = fc.check(property, { numRuns: 300, seed: 3, endOnFailure: true });
  t.equal(found.failed, false, JSON.stringify(found.counterexample));
  t.ok(withdrawals > 300, `${withdrawals} votes were withdrawn`);
});

for (const rule of ['withdrawn', 'fenced', 'standing'] as const) {
  test(`without the rule ${rule} of withdrawals some sequence does`, async (t) => {
    const property = fc.property(runs, (run) => play(run, { [rule]: false }).trouble === undefined);
    const found = fc.check(property, { numRuns: 2_000, seed: 3, endOnFailure: true });
    t.equal(found.failed, true, `nothing wrong in ${found.numRuns} runs`);
    t.comment(`seen after ${found.numRuns} runs`);
  });
}
