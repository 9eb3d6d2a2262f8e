import type { LinkTrouble } from './datagrams.js';
import type { Random } from './random.js';
import type { Part } from './troubles.js';
import type { World } from './world.js';

/** Something that goes wrong for a while. */
export interface Fault {
  readonly kind: string;
  /** What goes wrong, for people. */
  readonly text: string;
  /** What it may harm. */
  readonly parts: readonly Part[];
  /** How long it lasts; 0: it is over at once. */
  readonly lastsMs: number;
  begin(): void;
  end(): void;
}

/** Makes a fault of its kind somewhere; undefined where it cannot happen now. */
export type FaultMaker = (world: World, random: Random) => Fault | undefined;

/** The worst that the network does short of cutting a link. */
export function noise(random: Random): LinkTrouble {
  return {
    loss: random.pick([0, 0.05, 0.2, 0.5]),
    duplicates: random.pick([0, 0.1, 0.5]),
    delayMs: random.pick([1, 20, 80, 400]),
  };
}

/** Mostly short against a lease or about as long, sometimes long. */
export function duration(random: Random): number {
  return random.pick([30, 120, 250, 600, 1_500, 4_000, 15_000]) * random.between(0.5, 1.5);
}
