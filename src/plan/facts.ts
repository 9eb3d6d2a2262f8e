/** One thing that is, or should be, on a host. Two of the same id are compared by their states. */
export interface Fact {
  /** What it is about, unique on its host: `us-web1/eth0/address 10.10.0.11/24`. */
  readonly id: string;
  readonly kind: FactKind;
  readonly state: FactState;
  /**
   * Parts of the state that can be changed from this one on, where it is; another difference makes it
   * anew. It depends on how it is now: what is only prepared can be taken over, not the other way.
   */
  readonly inPlace?: readonly string[];
  /** Facts that carry this one: it goes with any of them, and is made again with it. */
  readonly on?: readonly string[];
  /** It ends with its carrier by itself: nobody orders that. */
  readonly silent?: boolean;
  /** The role (`personality/web1`) or network (`network/blue`) that it is there for. */
  readonly owner: string;
  /** In words that a person knows: how it is made, mostly as a command of iproute2. */
  readonly text: string;
  /** The same of a change, where that is said differently; '' where a change needs nothing done. */
  readonly changeText?: string;
}

export type FactKind =
  | 'namespace'
  | 'netlink'
  | 'bpf'
  | 'iscsi'
  | 'disk'
  | 'workload'
  | 'announce'
  | 'pulse';

export type FactState = Readonly<Record<string, string | number | boolean>>;

export interface Difference {
  readonly action: 'add' | 'change' | 'remove';
  readonly fact: Fact;
  /** Of a change: what it was. */
  readonly before?: FactState;
}

/**
 * What has to be done to get from one set of facts to another: removals first, the other way round
 * than things were made, then what is made or changed. What goes or comes with its carrier goes
 * without a word, and comes with one.
 */
export function difference(before: readonly Fact[], after: readonly Fact[]): readonly Difference[] {
  const old = byId(before);
  const young = byId(after);
  const gone = new Set<string>();
  const removals: Difference[] = [];
  // Carriers stand before what they carry.
  for (const fact of before) {
    const withCarrier = (fact.on ?? []).some((carrier) => gone.has(carrier));
    if (!withCarrier && stays(old, young, fact.id)) continue;
    gone.add(fact.id);
    if (!withCarrier || fact.silent !== true) removals.unshift({ action: 'remove', fact });
  }
  const rest = after.flatMap((fact): Difference[] => {
    const was = old.get(fact.id);
    if (was === undefined || gone.has(fact.id)) return [{ action: 'add', fact }];
    if (same(was.state, fact.state) || fact.changeText === '') return [];
    return [{ action: 'change', fact, before: was.state }];
  });
  return [...removals, ...rest];
}

/** Whether what was there under this id can become what should be there without being made anew. */
function stays(
  old: ReadonlyMap<string, Fact>,
  young: ReadonlyMap<string, Fact>,
  id: string,
): boolean {
  const was = old.get(id);
  const will = young.get(id);
  if (was === undefined || will === undefined) return false;
  const changeable = new Set(was.inPlace ?? []);
  const keys = new Set([...Object.keys(was.state), ...Object.keys(will.state)]);
  return [...keys].every((key) => changeable.has(key) || was.state[key] === will.state[key]);
}

function same(a: FactState, b: FactState): boolean {
  const keys = new Set([...Object.keys(a), ...Object.keys(b)]);
  return [...keys].every((key) => a[key] === b[key]);
}

function byId(facts: readonly Fact[]): ReadonlyMap<string, Fact> {
  return new Map(facts.map((fact) => [fact.id, fact]));
}
