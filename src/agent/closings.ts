import type { Commit } from '../control/failover.js';
import type { VoteRecord } from '../control/records.js';
import { incarnationId } from '../control/view.js';
import type { Store } from '../store/types.js';
import type { ClusterWatch } from './cluster-watch.js';
import type { Incarnation } from './taking-control.js';
import { closingTransaction, type VoteSlot } from './transactions.js';

/**
 * Votes that make a majority, written together with what is committed on them: a takeover is shorter by
 * one write, and by the news of it at every agent.
 *
 * One after the other, and no vote of this controller meanwhile: whoever acts on the next majority sees
 * where this one's roles went.
 */
export class Closings {
  readonly #parts: ClosingsParts;
  #underWay: Promise<void> | undefined;

  constructor(parts: ClosingsParts) {
    this.#parts = parts;
  }

  /** @returns false when the vote is still to be written, alone */
  async write(slot: VoteSlot, vote: VoteRecord): Promise<boolean> {
    while (this.#underWay !== undefined) await this.#underWay;
    const commits = this.#parts.commitsWith(slot, vote);
    if (commits.length === 0) return false;
    const written = this.#write(slot, vote, commits);
    const ended = () => {
      this.#underWay = undefined;
    };
    this.#underWay = written.then(ended, ended);
    return written;
  }

  async #write(slot: VoteSlot, vote: VoteRecord, commits: readonly Commit[]): Promise<boolean> {
    const { store, watch, onCommit } = this.#parts;
    const transaction = closingTransaction(slot, vote, commits);
    const result = await store.transact(transaction);
    watch.learnResult(transaction, result);
    // An earlier try, whose answer was lost, may have been carried out.
    if (!result.done) return stands(watch, slot);
    for (const commit of commits) onCommit(commit);
    return true;
  }
}

/** Whether this very controller's vote stands, as far as is known here. */
export function stands({ view }: ClusterWatch, { me, host, incarnation }: VoteSlot): boolean {
  const votes = view.votes.get(incarnationId(host, incarnation));
  return votes?.get(me)?.value.state === 'expired';
}

export interface ClosingsParts {
  readonly store: Store;
  readonly watch: ClusterWatch;
  /** What may be committed in the transaction of this vote (src/control/closing.ts). */
  commitsWith(which: Incarnation, vote: VoteRecord): readonly Commit[];
  /** It was carried out. */
  onCommit(commit: Commit): void;
}
