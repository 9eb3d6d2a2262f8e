import type { BallotDecision } from '../control/ballot-decisions.js';
import { type BallotFacts, ballotFacts } from '../control/ballot-facts.js';
import {
  type Ballot,
  type BallotEvent,
  decideBallot,
  isIdle,
  noBallot,
  stepBallot,
} from '../control/ballots.js';
import { isNewcomer } from '../control/controllers-change.js';
import { electorateOf, electorsOf } from '../control/electorate.js';
import type { VoteRecord } from '../control/records.js';
import type { PulseEvent } from '../pulse/protocol.js';
import type { Timers } from '../store/timers.js';
import type { Store, Transaction } from '../store/types.js';
import { atMost, mostWrites } from './at-most.js';
import type { Clock } from './clock.js';
import { Closings, type ClosingsParts, stands } from './closings.js';
import type { ClusterWatch } from './cluster-watch.js';
import type { Hurry } from './hurry.js';
import type { Journal } from './journal.js';
import { type Log, Loop } from './loop.js';
import { order, type PulseHello, type PulsePort } from './pulse-port.js';
import {
  type Incarnation,
  idOf,
  incarnationOf,
  TakingControl,
  watchedIncarnations,
} from './taking-control.js';
import { type VoteSlot, voteTransaction, withdrawalTransaction } from './transactions.js';

/**
 * A controller's votes. Pulse grants leases and says when one has lapsed, or that a host which it
 * refuses is well; this writes the vote, or takes it back (src/control/ballots.ts decides).
 *
 * The order that keeps it safe (rules 5, 8, 11 of the lease protocol): before a vote, pulse confirms
 * that it stopped acknowledging; after a withdrawal it acknowledges again only when that was
 * certainly written. Both compare the start nonce and the revision of the vote's key. So a withdrawal
 * fences every earlier try of the vote, also one whose result is unknown, and the other way round.
 */
export class Voter {
  readonly #parts: VoterParts;
  readonly #loop: Loop;
  readonly #control: TakingControl;
  /** By `host/incarnation`; those about which there is nothing to remember are left out. */
  readonly #ballots = new Map<string, Ballot>();
  readonly #closings: Closings;
  #hello: PulseHello | undefined;

  constructor(parts: VoterParts) {
    this.#parts = parts;
    this.#closings = new Closings(parts);
    this.#control = new TakingControl(parts);
    this.#loop = new Loop('voter', parts, () => this.#work());
  }

  /** `host/incarnation` whose promise this controller saw run out; nothing while it is a newcomer. */
  get lapsed(): ReadonlySet<string> {
    if (isNewcomer(this.#parts.watch.view, this.#parts.host)) return new Set();
    const lapsed = [...this.#ballots].filter(([, ballot]) => ballot.lapse !== null);
    return new Set(lapsed.map(([id]) => id));
  }

  /** `host/incarnation` that say that they have no agent: they would take up nothing. */
  get agentless(): ReadonlySet<string> {
    const away = [...this.#ballots].filter(([, { ails }]) => ails?.agentAway === true);
    return new Set(away.map(([id]) => id));
  }

  start(): void {
    this.#parts.pulse.onConnect((hello) => this.#connected(hello));
    this.#parts.pulse.onEvent((event) => this.#told(event));
    this.#parts.watch.onChange(() => this.#loop.trigger());
  }

  async stop(): Promise<void> {
    await this.#loop.stop();
  }

  #connected(hello: PulseHello): void {
    this.#hello = hello;
    this.#control.begin();
    const stopped = new Set(hello.stopped.map(idOf));
    for (const id of new Set([...this.#ballots.keys(), ...stopped])) {
      this.#step(id, { kind: 'connected', stopped: stopped.has(id) });
    }
    this.#loop.trigger();
  }

  #told(event: PulseEvent): void {
    switch (event.kind) {
      case 'lapsed': {
        const { lastAckAgoMs, atMs } = event;
        this.#step(idOf(event), { kind: 'lapsed', lapse: { lastAckAgoMs, atMs } });
        this.#parts.onLapse();
        break;
      }
      case 'renewed':
        this.#step(idOf(event), { kind: 'renewed' });
        this.#parts.onLapse();
        break;
      case 'ails': {
        const { dark, agentAway } = event;
        this.#step(idOf(event), { kind: 'ails', ailments: { dark, agentAway } });
        this.#parts.onLapse();
        break;
      }
      case 'heard': {
        const { sinceMs, atMs } = event;
        this.#step(idOf(event), { kind: 'heard', heard: { sinceMs, atMs } });
        break;
      }
      default:
        return;
    }
    this.#loop.trigger();
  }

  #step(id: string, event: BallotEvent): void {
    const nowMs = this.#parts.clock.bootMs();
    const ballot = stepBallot(this.#ballots.get(id) ?? noBallot, event, nowMs);
    if (isIdle(ballot, nowMs)) this.#ballots.delete(id);
    else this.#ballots.set(id, ballot);
  }

  async #work(): Promise<void> {
    const { watch, host } = this.#parts;
    const record = watch.view.config?.value;
    const hello = this.#hello;
    if (hello === undefined || !watch.known || record === undefined) return;
    if (!electorsOf(electorateOf(record)).includes(host)) return;
    await this.#takeControl(hello);
    this.#forgetUnwatched();
    const { leaseMs } = record.config.timing;
    let wakeAtMs: number | undefined;
    // None is still at work when the next run begins, whichever fails.
    await atMost(mostWrites, [...this.#ballots.keys()], async (id) => {
      const againMs = await this.#settle(hello, incarnationOf(id), leaseMs);
      if (againMs !== undefined) wakeAtMs = Math.min(wakeAtMs ?? againMs, againMs);
    });
    if (wakeAtMs !== undefined) this.#loop.triggerIn(wakeAtMs - this.#parts.clock.bootMs());
  }

  /** Nobody needs a vote against what the store names no longer. */
  #forgetUnwatched(): void {
    if (this.#ballots.size === 0) return;
    const watched = new Set(watchedIncarnations(this.#parts.watch.view).map(idOf));
    for (const id of this.#ballots.keys()) if (!watched.has(id)) this.#ballots.delete(id);
  }

  async #takeControl(hello: PulseHello): Promise<void> {
    const stopped = [...this.#ballots]
      .filter(([, ballot]) => ballot.stoppedAtMs !== null)
      .map(([id]) => incarnationOf(id));
    const told = await this.#control.take(hello, stopped);
    if (told === undefined) return;
    for (const which of told) this.#step(idOf(which), { kind: 'stopped' });
    this.#parts.onControl();
  }

  /**
   * Decides about one's own vote against one incarnation, and carries that out.
   *
   * @returns when to look again, if nothing happens before
   */
  async #settle(
    hello: PulseHello,
    which: Incarnation,
    leaseMs: number,
  ): Promise<number | undefined> {
    const { watch, host: me, clock } = this.#parts;
    const ballot = this.#ballots.get(idOf(which));
    if (ballot === undefined) return undefined;
    const facts = ballotFacts(watch.view, me, which.host, which.incarnation, this.lapsed);
    const decision = decideBallot(ballot, facts, clock.bootMs(), leaseMs);
    if (decision.kind === 'rest') return decision.wakeAtMs;
    const slot = { me, nonce: hello.nonce, ...which, mine: facts.mine?.revision };
    const calm = this.#parts.hurry.begin();
    try {
      if (decision.kind === 'stop') {
        // While the others write: the vote that makes the majority need not wait for it then.
        await this.#stop(which);
        this.#loop.trigger();
      } else if (decision.kind === 'vote') await this.#vote(slot, hello, decision);
      else await this.#withdraw(slot, hello, facts, decision.reason);
    } finally {
      calm();
    }
    return undefined;
  }

  async #vote(slot: VoteSlot, hello: PulseHello, decision: Voting): Promise<void> {
    const { lapse, reason, follows = false } = decision;
    const { journal } = this.#parts;
    const { me, host } = slot;
    const id = idOf(slot);
    if (follows) this.#step(id, { kind: 'followed' });
    if (!(await this.#stop(slot, !follows))) return;
    const vote: VoteRecord = {
      ...{ state: 'expired', ...lapse, bootId: hello.bootId },
      ...(this.agentless.has(id) ? { agentAway: true } : {}),
    };
    if (!(await this.#closings.write(slot, vote))) {
      await this.#write(slot, voteTransaction(slot, vote), vote);
    }
    journal.event('vote', host, `${me} votes ${id} expired: ${reason}`);
  }

  /**
   * @param onlyIfLapsed else a promise that runs is waited out
   * @returns false when it came back between pulse's report and now: nothing is stopped
   */
  async #stop({ host, incarnation }: Incarnation, onlyIfLapsed = true): Promise<boolean> {
    const id = idOf({ host, incarnation });
    if (this.#ballots.get(id)?.stopInForce === true) return true;
    // Before it is asked: a request whose answer is lost may have been obeyed.
    this.#step(id, { kind: 'stopped' });
    const reply = await this.#parts.pulse.request({
      kind: 'stop-acks',
      host,
      incarnation,
      onlyIfLapsed,
    });
    if (reply.kind === 'error' && reply.code === 'US_PULSE_PROMISED') {
      this.#step(id, { kind: 'promised' });
      return false;
    }
    if (reply.kind !== 'ok') throw new Error(`pulse did not stop acknowledging ${id}`);
    this.#step(id, { kind: 'in-force' });
    return true;
  }

  async #withdraw(
    slot: VoteSlot,
    hello: PulseHello,
    { others }: BallotFacts,
    reason: string,
  ): Promise<void> {
    const { pulse, clock, journal, watch } = this.#parts;
    const { me, host, incarnation } = slot;
    const id = idOf(slot);
    const { config } = watch.view;
    if (config === undefined) return;
    const withdrawn: VoteRecord = {
      state: 'withdrawn',
      lastAckAgoMs: null,
      atMs: clock.bootMs(),
      bootId: hello.bootId,
    };
    const transaction = withdrawalTransaction(slot, others, config.revision, withdrawn);
    await this.#write(slot, transaction, withdrawn);
    journal.event('withdrawal', host, `${me} withdraws its vote against ${id}: ${reason}`);
    await order(pulse, { kind: 'resume-acks', host, incarnation });
    this.#step(id, { kind: 'resumed' });
    this.#parts.onLapse();
  }

  /**
   * Returns when this very transaction was carried out for sure; of a vote, which only grows less by a
   * later write of ours, that it stands is enough. Else the loop decides anew with what the store said:
   * an earlier try of a withdrawal may have been carried out, but what came after it is not known.
   */
  async #write(slot: VoteSlot, transaction: Transaction, vote: VoteRecord): Promise<void> {
    const { store, watch } = this.#parts;
    const result = await store.transact(transaction);
    watch.learnResult(transaction, result);
    if (result.done || (vote.state === 'expired' && stands(watch, slot))) return;
    throw new Error(`${vote.state} ${idOf(slot)}: what it rests on has changed; deciding anew`);
  }
}

type Voting = Extract<BallotDecision, { kind: 'vote' }>;

export interface VoterParts extends ClosingsParts {
  readonly host: string;
  readonly pulsePort: number;
  readonly store: Store;
  readonly watch: ClusterWatch;
  readonly pulse: PulsePort;
  readonly clock: Clock;
  readonly journal: Journal;
  readonly log: Log;
  readonly timers: Timers;
  readonly hurry: Pick<Hurry, 'begin'>;
  /** The set of lapsed hosts changed: placement looks again. */
  onLapse(): void;
  /** Pulse grants from now on what the store lets it. */
  onControl(): void;
}
