import type { Random } from './random.js';

/** How many kinds of faults a run has; `null`: all. */
const counts = [1, 1, 2, 3, 5, 8, null, null, null, null] as const;

/**
 * The kinds of faults of one run. With all of them something is nearly always in the way of
 * something else: then few roles are on a host which nothing harms, and little is asked of them. So
 * many runs have few kinds, or one alone (swarm testing: Groce et al., ISSTA 2012).
 */
export function chosenKinds(all: readonly string[], random: Random): readonly string[] {
  const count = random.pick(counts);
  if (count === null) return all;
  const left = [...all];
  const chosen: string[] = [];
  while (chosen.length < count && left.length > 0) {
    chosen.push(...left.splice(random.below(left.length), 1));
  }
  return chosen;
}
