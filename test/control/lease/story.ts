import fc from 'fast-check';
import type { Rules } from '../../../src/control/lease/rules.js';
import type { StoreRules } from './vote-store.js';
import { World, type WorldOptions } from './world.js';
import type { LinkState } from './world-network.js';

/** A run: the world, then phases of network weather, each opened by something that happens. */
export interface Story {
  readonly world: WorldOptions;
  readonly phases: readonly Phase[];
}

interface Phase {
  readonly lengthMs: number;
  /** One weather a controller. */
  readonly weather: readonly Weather[];
  readonly happening: Happening;
  readonly victim: number;
}

const calm: LinkState = { lossPercent: 0, delayUs: [0, 3_000], duplicatePercent: 10 };
const instant: LinkState = { lossPercent: 0, delayUs: [0, 0], duplicatePercent: 0 };
const stormy: LinkState = { lossPercent: 20, delayUs: [0, 300_000], duplicatePercent: 40 };
const dead: LinkState = { lossPercent: 100, delayUs: [0, 0], duplicatePercent: 0 };

const weathers = {
  instant: [instant, instant],
  calm: [calm, calm],
  slowAcks: [instant, stormy],
  stormy: [stormy, stormy],
  upOnly: [calm, dead],
  cut: [dead, dead],
} as const;
type Weather = keyof typeof weathers;

const happenings = [
  'nothing',
  'nothing',
  'pulse-restarts',
  'controller-restarts',
  'controller-restarts',
  'agent-stops',
  'pulse-restart-is-planned',
  'pulse-restarts-as-planned',
  'agent-restarts',
  'old-packets',
] as const;
const changeHappenings = [
  ...happenings,
  'change-begins',
  'change-begins',
  'host-moves',
  'host-moves',
  'host-moves',
  'old-ones-refuse',
  'old-ones-refuse',
  'driver-dies',
  'agent-stands-still',
  'change-goes-back',
] as const;
type Happening = (typeof changeHappenings)[number];

export function play({ world: options, phases }: Story): World {
  const world = new World(options);
  for (const { lengthMs, weather, happening, victim } of phases) {
    weather.forEach((kind, index) => {
      world.setLink(index, ...weathers[kind]);
    });
    switch (happening) {
      case 'pulse-restarts':
        world.restartPulse();
        break;
      case 'controller-restarts':
        world.restartController(victim, 5_000, lengthMs * 400);
        break;
      case 'agent-stops':
        world.stop(victim);
        break;
      case 'pulse-restart-is-planned':
        world.lengthen(3 * options.leaseMs);
        break;
      case 'pulse-restarts-as-planned':
        world.restartPulseAsPlanned();
        break;
      case 'agent-restarts':
        world.restartAgent(victim);
        break;
      case 'old-packets':
        world.replay(30);
        break;
      case 'change-begins':
        world.change.begin();
        break;
      case 'host-moves':
        world.change.move();
        break;
      case 'old-ones-refuse':
        world.change.refuse();
        break;
      case 'driver-dies':
        world.change.driverDies();
        break;
      case 'agent-stands-still':
        world.stallAgent(victim, 1_500_000);
        break;
      case 'change-goes-back':
        world.change.goBack();
        break;
      case 'nothing':
    }
    world.runUs(lengthMs * 1_000);
    if (world.violation !== undefined) break;
  }
  return world;
}

/**
 * Stories of one host. Every second one has no drift at all and a margin of nothing, where host and
 * controllers come to the same instant; in the others clocks differ by up to the margin (10 %
 * instead of 1, so that what the margin guards against happens often).
 */
export function stories(
  rules: Partial<Rules> = {},
  storeRules: Partial<StoreRules> = {},
): fc.Arbitrary<Story> {
  return fc
    .constantFrom(3, 3, 5)
    .chain((controllers) => told({ controllers }, happenings, rules, storeRules));
}

/** From one, three or five controllers to others: some of them, none of them, more or fewer. */
const changes = [
  { controllers: 4, first: [0, 1, 2], next: [0, 1, 3] },
  { controllers: 4, first: [0, 1, 2], next: [3, 1, 2] },
  { controllers: 3, first: [0], next: [0, 1, 2] },
  { controllers: 3, first: [0, 1, 2], next: [0] },
  { controllers: 2, first: [0], next: [1] },
  { controllers: 5, first: [0, 1, 2], next: [0, 1, 2, 3, 4] },
  { controllers: 5, first: [0, 1, 2, 3, 4], next: [0, 1, 2] },
  { controllers: 5, first: [0, 1, 2], next: [2, 3, 4] },
];

/** Changes of controllers that restart or stand still, and not much else. */
export const hastyChange: readonly Happening[] = [
  'change-begins',
  'host-moves',
  'old-ones-refuse',
  'old-ones-refuse',
  'controller-restarts',
  'agent-stands-still',
  'nothing',
];
/** A host that hears of no change, and old controllers that restart. */
export const unheardChange: readonly Happening[] = [
  'change-begins',
  'old-ones-refuse',
  'controller-restarts',
  'nothing',
];

/** The same, with changes of the controllers among what happens. */
export function changeStories(
  rules: Partial<Rules> = {},
  storeRules: Partial<StoreRules> = {},
  happening = changeHappenings as readonly Happening[],
): fc.Arbitrary<Story> {
  return fc.constantFrom(...changes).chain((who) => told(who, happening, rules, storeRules, 18));
}

type Who = Pick<WorldOptions, 'controllers' | 'first' | 'next'>;

function told(
  who: Who,
  happening: readonly Happening[],
  rules: Partial<Rules>,
  storeRules: Partial<StoreRules>,
  mostPhases = 12,
): fc.Arbitrary<Story> {
  const { controllers } = who;
  const perController = <T>(one: fc.Arbitrary<T>) =>
    fc.array(one, { minLength: controllers, maxLength: controllers });
  const phase: fc.Arbitrary<Phase> = fc.record({
    lengthMs: fc.integer({ min: 20, max: 320 }),
    weather: perController(
      fc.constantFrom<Weather[]>(
        'instant',
        'instant',
        'calm',
        'slowAcks',
        'stormy',
        'upOnly',
        'cut',
        'cut',
      ),
    ),
    happening: fc.constantFrom(...happening),
    victim: fc.integer({ min: 0, max: controllers - 1 }),
  });
  const clocks = fc.oneof(
    fc.record({
      marginPercent: fc.constant(10),
      rates: perController(fc.constantFrom(1 / 1.0999, 1, 1.0999)),
    }),
    fc.record({ marginPercent: fc.constant(0), rates: perController(fc.constant(1)) }),
  );
  return fc
    .record({
      clocks,
      seed: fc.integer({ min: 1, max: 1_000_000 }),
      offsetsUs: perController(fc.integer({ min: 0, max: 2_000_000 })),
      stopDelayUs: fc.constantFrom(0, 0, 40_000),
      voteDelayUs: fc.constantFrom(0, 0, 20_000),
      lostAnswersPercent: fc.constantFrom(0, 0, 50),
      phases: fc.array(phase, { minLength: 6, maxLength: mostPhases }),
    })
    .map(({ clocks: { marginPercent, rates }, seed, offsetsUs, phases, ...delays }) => ({
      world: {
        ...who,
        seed,
        rules,
        storeRules,
        leaseMs: 200,
        heartbeatMs: 50,
        marginPercent,
        rates: [1, ...rates],
        offsetsUs: [1_000_000, ...offsetsUs],
        ...delays,
      },
      phases,
    }));
}
