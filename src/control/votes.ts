import { electorateOf, electorsOf, isQuorum } from './electorate.js';
import { allRules } from './lease/rules.js';
import { incarnationId, type View } from './view.js';

/**
 * The votes that stand in the store against one incarnation, of controllers that the configuration
 * names (while they change: the old and the new ones), each counted once. A withdrawn vote does not
 * stand.
 */
export function standingVotes(
  view: View,
  host: string,
  incarnation: number,
): readonly StandingVote[] {
  const votes = view.votes.get(incarnationId(host, incarnation));
  if (votes === undefined || view.config === undefined) return [];
  return electorsOf(electorateOf(view.config.value)).flatMap((controller) => {
    const vote = votes.get(controller);
    return vote?.value.state === 'expired'
      ? [{ controller, revision: vote.revision, ...vote.value }]
      : [];
  });
}

export interface StandingVote {
  readonly controller: string;
  readonly revision: number;
  readonly lastAckAgoMs: number | null;
  readonly atMs: number;
  readonly bootId: string;
  readonly agentAway?: boolean;
}

/** Whether these are a majority: while the controllers change, of the old and of the new ones. */
export function isMajority(view: View, votes: readonly StandingVote[]): boolean {
  if (view.config === undefined) return false;
  const { sets } = electorateOf(view.config.value);
  const counting = allRules.votesOfBothSets ? sets : sets.slice(-1);
  return isQuorum(counting, (name) => votes.some(({ controller }) => controller === name));
}

/** Whether a majority of the controllers says that this incarnation's lease is over. */
export function isExpired(view: View, host: string, incarnation: number): boolean {
  return isMajority(view, standingVotes(view, host, incarnation));
}

/** Whether this incarnation can never again be effective: voted out, or retired by a commit. */
export function isShutOut(view: View, host: string, incarnation: number): boolean {
  return view.retired.has(incarnationId(host, incarnation)) || isExpired(view, host, incarnation);
}

/**
 * Whether of all that are silent only this one has anything to lose: the others are shut out already,
 * or hold no role.
 *
 * @param lapsed `host/incarnation` whose promise the asking controller saw run out
 */
export function isOnlyLoss(view: View, id: string, lapsed: ReadonlySet<string>): boolean {
  const others = [...lapsed].filter((other) => other !== id);
  if (others.length === 0) return true;
  const owners = new Set(
    [...view.assignments.values()].map(({ value: { host, incarnation } }) =>
      incarnationId(host ?? '', incarnation),
    ),
  );
  return others.every((other) => {
    const [host = '', incarnation] = other.split('/');
    return !owners.has(other) || isShutOut(view, host, Number(incarnation));
  });
}

/**
 * Controllers that by their own standing votes hear less than a majority of the controllers, where
 * no majority agrees with them. What is wrong is with them: cut off, they vote against everybody. So their votes say little about
 * others, and their hosts cannot get a lease.
 */
export function outOfTouch(view: View): ReadonlySet<string> {
  if (view.config === undefined) return new Set();
  const electorate = electorateOf(view.config.value);
  const votedAgainst = new Map<string, Set<string>>();
  for (const name of electorsOf(electorate)) {
    const incarnation = view.hosts.get(name)?.value.incarnation;
    // What a majority says too is no sign of deafness.
    if (incarnation === undefined || isShutOut(view, name, incarnation)) continue;
    for (const { controller } of standingVotes(view, name, incarnation)) {
      if (controller === name) continue;
      votedAgainst.set(controller, (votedAgainst.get(controller) ?? new Set()).add(name));
    }
  }
  const deaf = [...votedAgainst].filter(
    ([, against]) => !isQuorum(electorate.sets, (name) => !against.has(name)),
  );
  return new Set(deaf.map(([controller]) => controller));
}

/** `host/incarnation` of every host of the configuration that is enrolled and not shut out. */
export function enrolledIncarnations(view: View): readonly string[] {
  const config = view.config?.value.config;
  if (config === undefined) return [];
  return config.hosts.flatMap(({ name }) => {
    const incarnation = view.hosts.get(name)?.value.incarnation;
    if (incarnation === undefined || isShutOut(view, name, incarnation)) return [];
    return [incarnationId(name, incarnation)];
  });
}
