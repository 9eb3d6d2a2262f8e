/** The claims, word for word as short as they can honestly be. Ids as in docs/architecture.md. */
const texts = {
  '1a': 'members of a virtual LAN reach each other; no frame of it reaches anybody else',
  '1b': "a personality's virtual LUN 0 is one LUN of the storage network, and it sees no other",
  '1c': 'a failed host is replaced by a spare and stays shut out, also when it comes back',
  '2': 'every surviving member has a software path to the replacement',
  '3': 'the replacement has the virtual LAN and the disk of exactly the one that failed',
  '4': 'the failover is a method: its steps in order, recorded with their times',
  '5': 'paths are re-created by explicit entries on each survivor, without flooding and learning',
  '6': 'other virtual LANs and disks are left alone',
  '7': 'several members answer behind one shared address',
  '8': "the client's source address and port decide which member",
  '9': 'each request to the shared address goes to exactly one of the members',
  '10': 'the same source always gets the same member, the one that `which` names',
  '+': 'members are replaced by the same failover; the dispatcher fails over and keeps the mapping; the new owner announces',
} as const;

export type ClaimId = keyof typeof texts;

export interface Claim {
  readonly id: ClaimId;
  readonly text: string;
  readonly seen: boolean;
  readonly evidence: string;
}

/**
 * The table that the demonstration ends with. A claim is seen when it was observed at least once and
 * no observation spoke against it.
 */
export class Claims {
  readonly #observations = new Map<ClaimId, { holds: boolean; evidence: string }[]>();

  observe(id: ClaimId, holds: boolean, evidence: string): boolean {
    const list = this.#observations.get(id) ?? [];
    list.push({ holds, evidence });
    this.#observations.set(id, list);
    return holds;
  }

  get table(): readonly Claim[] {
    return (Object.keys(texts) as ClaimId[]).sort(byNumber).map((id) => {
      const observations = this.#observations.get(id) ?? [];
      const against = observations.filter(({ holds }) => !holds);
      const told = against.length > 0 ? against : observations;
      return {
        id,
        text: texts[id],
        seen: observations.length > 0 && against.length === 0,
        evidence: told.map(({ evidence }) => evidence).join('; ') || 'not observed',
      };
    });
  }
}

/** 1a, 1b, 1c, 2, …, 10, +. */
function byNumber(a: ClaimId, b: ClaimId): number {
  const rank = (id: ClaimId) => (id === '+' ? 99 : Number.parseInt(id, 10));
  return rank(a) - rank(b) || (a < b ? -1 : 1);
}
