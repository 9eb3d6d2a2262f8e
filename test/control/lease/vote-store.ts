import type { BallotFacts } from '../../../src/control/ballot-facts.js';
import { electorsOf, isQuorum } from '../../../src/control/electorate.js';
import type { SetStore } from './set-store.js';

/** Rules of the store's part, each to be broken by a test: docs/architecture.md, leases. */
export interface StoreRules {
  /** A vote lands only on the key as its writer read it. */
  readonly fenced: boolean;
  /** A commit rests on the votes that stand, not on every vote that ever was seen. */
  readonly standing: boolean;
  /** Acks go on only when the withdrawal was written for sure. */
  readonly writtenFirst: boolean;
  /** A vote is withdrawn only while fewer than a majority stand, and no commit rested on it. */
  readonly minority: boolean;
  /** Votes of a minority are taken back at all: without, it is safe but not for long alive. */
  readonly withdrawn: boolean;
  /** Changing the controllers: a commit needs majorities of both sets. */
  readonly bothCommit: boolean;
  /** The last lease under the old set is waited for. */
  readonly lastLeaseWaited: boolean;
  /** A majority of the old set refuses it before that. */
  readonly oldSetRefused: boolean;
  /** A refusal outlasts its controller's restart. */
  readonly refusalDurable: boolean;
  /** A refusal is told to others only by the start of pulse that obeys it. */
  readonly refusalFenced: boolean;
}

export const allStoreRules: StoreRules = {
  fenced: true,
  standing: true,
  writtenFirst: true,
  minority: true,
  withdrawn: true,
  bothCommit: true,
  lastLeaseWaited: true,
  oldSetRefused: true,
  refusalDurable: true,
  refusalFenced: true,
};

interface Slot {
  readonly standing: boolean;
  readonly revision: number;
}

/** What a write rests on: as its transaction compares it. */
export interface Rests {
  readonly nonce: number;
  readonly mine: number | undefined;
  /** Of a withdrawal. */
  readonly others?: BallotFacts['others'];
  /** Of a withdrawal: the set of controllers that it counted. */
  readonly revision?: number;
}

/** The votes against one incarnation in a store with revisions; commits as soon as it may. */
export class VoteStore {
  readonly #sets: SetStore;
  readonly #rules: StoreRules;
  readonly #slots = new Map<number, Slot>();
  readonly #nonces = new Map<number, number>();
  readonly #remembered = new Set<number>();
  #revision = 1;
  #committed = false;
  #withdrawals = 0;

  constructor(sets: SetStore, rules: StoreRules) {
    this.#sets = sets;
    this.#rules = rules;
  }

  get committed(): boolean {
    return this.#committed;
  }
  get withdrawals(): number {
    return this.#withdrawals;
  }

  stands(index: number): boolean {
    return this.#slots.get(index)?.standing ?? false;
  }

  start(index: number, nonce: number): void {
    this.#nonces.set(index, nonce);
  }

  facts(me: number): BallotFacts {
    const slot = this.#slots.get(me);
    const state = slot?.standing ? 'expired' : 'withdrawn';
    const value = { state, lastAckAgoMs: 0, atMs: 0, bootId: '' } as const;
    const { electorate } = this.#sets;
    return {
      me: String(me),
      electorate,
      newcomer: this.#sets.isNewcomer(me),
      mine: slot === undefined ? undefined : { value, revision: slot.revision },
      others: electorsOf(electorate)
        .filter((name) => name !== String(me))
        .map((controller) => ({
          controller,
          standing: this.stands(Number(controller)),
          revision: this.#slots.get(Number(controller))?.revision,
        })),
      // When it votes changes nothing about what may be: here everybody votes at once.
      spare: false,
      last: false,
      hasRole: () => true,
      retired: this.#committed,
    };
  }

  /** @returns whether it was carried out */
  vote(index: number, rests: Rests): boolean {
    const late = this.#slots.get(index)?.revision !== rests.mine && this.#rules.fenced;
    if (this.#nonces.get(index) !== rests.nonce || late) return false;
    this.#slots.set(index, { standing: true, revision: ++this.#revision });
    this.#remembered.add(index);
    this.look();
    return true;
  }

  /** Commits if the votes suffice under the controllers that stand there now. */
  look(): void {
    const counts = (name: string) =>
      this.#rules.standing ? this.stands(Number(name)) : this.#remembered.has(Number(name));
    const { sets } = this.#sets.electorate;
    if (isQuorum(this.#rules.bothCommit ? sets : sets.slice(-1), counts)) this.#committed = true;
  }

  isStart(index: number, nonce: number): boolean {
    return this.#nonces.get(index) === nonce;
  }

  withdraw(index: number, { nonce, mine, others = [], revision }: Rests): boolean {
    const changed = others.some(
      ({ controller, revision }) => this.#slots.get(Number(controller))?.revision !== revision,
    );
    if (this.#nonces.get(index) !== nonce || this.#slots.get(index)?.revision !== mine)
      return false;
    const reconfigured = revision !== undefined && revision !== this.#sets.electorate.set;
    if ((this.#committed || changed || reconfigured) && this.#rules.minority) return false;
    this.#slots.set(index, { standing: false, revision: ++this.#revision });
    this.#withdrawals++;
    return true;
  }
}
