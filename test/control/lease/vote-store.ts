import type { BallotFacts } from '../../../src/control/ballots.js';
import { majority } from '../../../src/control/votes.js';

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
}

export const allStoreRules: StoreRules = {
  fenced: true,
  standing: true,
  writtenFirst: true,
  minority: true,
  withdrawn: true,
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
}

/** The votes against one incarnation in a store with revisions; commits as soon as it may. */
export class VoteStore {
  readonly #controllers: number;
  readonly #rules: StoreRules;
  readonly #slots = new Map<number, Slot>();
  readonly #nonces = new Map<number, number>();
  readonly #remembered = new Set<number>();
  #revision = 1;
  #committed = false;
  #withdrawals = 0;

  constructor(controllers: number, rules: StoreRules) {
    this.#controllers = controllers;
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
    return {
      mine: slot === undefined ? undefined : { value, revision: slot.revision },
      others: Array.from({ length: this.#controllers }, (_, index) => index)
        .filter((index) => index !== me)
        .map((index) => ({
          controller: String(index),
          standing: this.stands(index),
          revision: this.#slots.get(index)?.revision,
        })),
      // When it votes changes nothing about what may be: here everybody votes at once.
      spare: false,
      retired: this.#committed,
    };
  }

  /** @returns whether it was carried out */
  vote(index: number, rests: Rests): boolean {
    const late = this.#slots.get(index)?.revision !== rests.mine && this.#rules.fenced;
    if (this.#nonces.get(index) !== rests.nonce || late) return false;
    this.#slots.set(index, { standing: true, revision: ++this.#revision });
    this.#remembered.add(index);
    const standing = [...this.#slots.values()].filter((slot) => slot.standing).length;
    const counted = this.#rules.standing ? standing : this.#remembered.size;
    if (counted >= majority(this.#controllers)) this.#committed = true;
    return true;
  }

  withdraw(index: number, { nonce, mine, others = [] }: Rests): boolean {
    const changed = others.some(
      ({ controller, revision }) => this.#slots.get(Number(controller))?.revision !== revision,
    );
    if (this.#nonces.get(index) !== nonce || this.#slots.get(index)?.revision !== mine)
      return false;
    if ((this.#committed || changed) && this.#rules.minority) return false;
    this.#slots.set(index, { standing: false, revision: ++this.#revision });
    this.#withdrawals++;
    return true;
  }
}
