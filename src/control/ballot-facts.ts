import { isNewcomer } from './controllers-change.js';
import { type Electorate, electorateOf, electorsOf, isQuorum } from './electorate.js';
import type { VoteRecord } from './records.js';
import { incarnationId, type Kept, type View } from './view.js';
import { isOnlyLoss } from './votes.js';

/** What the store says of the incarnation. */
export interface BallotFacts {
  readonly me: string;
  readonly electorate: Electorate;
  /** Only about to become a controller. */
  readonly newcomer: boolean;
  readonly mine: Kept<VoteRecord> | undefined;
  /** Every other controller, whether its vote stands, and the revision of its key. */
  readonly others: readonly {
    readonly controller: string;
    readonly standing: boolean;
    readonly revision: number | undefined;
    /** Its own host is enrolled and heard; left out: no. */
    readonly well?: boolean;
  }[];
  readonly retired: boolean;
  /** Controllers in order before this one, as far as they seem well, are a majority without it. */
  readonly spare: boolean;
  /** They are one with it, and its vote can carry the commit. */
  readonly last: boolean;
  /** Whether the store has given it a role. */
  hasRole(): boolean;
}

/** @param lapsed `host/incarnation` whose promise this controller saw run out */
export function ballotFacts(
  view: View,
  me: string,
  host: string,
  incarnation: number,
  lapsed: ReadonlySet<string>,
): BallotFacts {
  const id = incarnationId(host, incarnation);
  const votes = view.votes.get(id);
  const electorate =
    view.config === undefined ? { set: 0, sets: [] } : electorateOf(view.config.value);
  const electors = electorsOf(electorate);
  const others = electors.filter((controller) => controller !== me);
  const well = (name: string) => {
    const enrolled = view.hosts.get(name)?.value.incarnation;
    return enrolled !== undefined && !lapsed.has(incarnationId(name, enrolled));
  };
  const before = electors.slice(0, Math.max(0, electors.indexOf(me))).filter(well);
  return {
    me,
    electorate,
    newcomer: isNewcomer(view, me),
    spare: isQuorum(electorate.sets, (name) => before.includes(name)),
    last:
      isQuorum(electorate.sets, (name) => name === me || before.includes(name)) &&
      isOnlyLoss(view, id, lapsed),
    mine: votes?.get(me),
    others: others.map((controller) => {
      const vote = votes?.get(controller);
      const standing = vote?.value.state === 'expired';
      return { controller, standing, revision: vote?.revision, well: well(controller) };
    }),
    retired: view.retired.has(id),
    hasRole: () =>
      [...view.assignments.values()].some(
        ({ value }) => value.host === host && value.incarnation === incarnation,
      ),
  };
}

/** Whether the vote of this controller stands. */
export function stands({ me, mine, others }: BallotFacts, name: string): boolean {
  if (name === me) return mine?.value.state === 'expired';
  return others.some(({ controller, standing }) => controller === name && standing);
}
