import {
  type Ballot,
  type BallotEvent,
  decideBallot,
  noBallot,
  stepBallot,
} from '../../../src/control/ballots.js';
import type { Rests, StoreRules, VoteStore } from './vote-store.js';

/** What one agent has around it; times are µs of true time, its clock's readings ms. */
export interface AgentSurroundings {
  readonly index: number;
  readonly leaseMs: number;
  readonly rules: StoreRules;
  readonly store: VoteStore;
  /** Whether it is a controller at all. */
  counts(): boolean;
  nowMs(): number;
  /** Start number of its pulse. */
  nonce(): number;
  /** Asks pulse to stop acking; answered by `inForce` or `refused`. */
  stopAcks(onlyIfLapsed: boolean): void;
  resumeAcks(): void;
  /** Runs it after a delay, by the process that is this agent now. */
  later(action: () => void, delayMs?: number): void;
  /**
   * Sends a transaction: carried out some time, or never. What comes back is its result, or undefined
   * when the agent waited long enough.
   */
  transact(carryOut: () => boolean, answer: (done: boolean | undefined) => void): void;
}

/** An agent that votes and withdraws, by the production decision: one controller of the world. */
export class WorldAgent {
  readonly #around: AgentSurroundings;
  #ballot: Ballot = noBallot;
  /** A step is under way; the next one waits for its result. */
  #busy = false;
  #rests: Rests | undefined;

  constructor(around: AgentSurroundings) {
    this.#around = around;
  }

  /** It restarted, or its pulse did. */
  connected(stopped: boolean): void {
    this.#busy = false;
    this.tell({ kind: 'connected', stopped });
  }

  tell(event: BallotEvent): void {
    this.#ballot = stepBallot(this.#ballot, event, this.#around.nowMs());
    this.look();
  }

  look(): void {
    if (this.#busy || !this.#around.counts()) return;
    const { index, store, leaseMs, nowMs, nonce } = this.#around;
    const facts = store.facts(index);
    const decision = decideBallot(this.#ballot, facts, nowMs(), leaseMs);
    if (decision.kind === 'rest') {
      const { wakeAtMs } = decision;
      if (wakeAtMs !== undefined) this.#around.later(() => this.look(), wakeAtMs - nowMs());
      return;
    }
    if (decision.kind === 'vote') {
      const follows = decision.follows === true;
      if (follows) this.#ballot = stepBallot(this.#ballot, { kind: 'followed' }, nowMs());
      this.demand(!follows);
      return;
    }
    if (!this.#around.rules.withdrawn) return;
    this.#busy = true;
    const { mine, others, electorate } = facts;
    const rests = { nonce: nonce(), mine: mine?.revision, others, revision: electorate.set };
    this.#withdraw(rests);
  }

  /** Stop acking, then vote: lapsed or not, if an operator says so. */
  demand(onlyIfLapsed: boolean): void {
    const { index, store, nowMs, nonce, stopAcks } = this.#around;
    this.#busy = true;
    this.#rests = { nonce: nonce(), mine: store.facts(index).mine?.revision };
    this.#ballot = stepBallot(this.#ballot, { kind: 'stopped' }, nowMs());
    stopAcks(onlyIfLapsed);
  }

  /** Pulse acks no more, and every promise ran out. */
  inForce(): void {
    const rests = this.#rests;
    if (!this.#busy || rests === undefined) return;
    this.#rests = undefined;
    this.#ballot = stepBallot(this.#ballot, { kind: 'stopped' }, this.#around.nowMs());
    const { index, store, transact } = this.#around;
    transact(
      () => store.vote(index, rests),
      () => this.#done(),
    );
  }

  refused(): void {
    this.#ballot = stepBallot(this.#ballot, { kind: 'promised' }, this.#around.nowMs());
    this.#done();
  }

  #withdraw(rests: Rests): void {
    const { index, store, transact, rules, resumeAcks } = this.#around;
    const resume = () => {
      resumeAcks();
      this.#ballot = stepBallot(this.#ballot, { kind: 'resumed' }, this.#around.nowMs());
    };
    if (!rules.writtenFirst) resume();
    transact(
      () => store.withdraw(index, rests),
      (done) => {
        if (done === true && rules.writtenFirst) resume();
        this.#done();
      },
    );
  }

  #done(): void {
    this.#busy = false;
    this.#around.later(() => this.look());
  }
}
