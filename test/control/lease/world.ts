import { stepGrants } from '../../../src/control/lease/controller.js';
import type { GrantEvent, GrantOutput } from '../../../src/control/lease/grant-events.js';
import {
  type GrantedSets,
  type GrantTerm,
  type HostGrants,
  type LongLease,
  noGrants,
  promiseNs,
} from '../../../src/control/lease/grants.js';
import type { HolderEvent } from '../../../src/control/lease/holder-events.js';
import { grantsWakeNs } from '../../../src/control/lease/lapses.js';
import { allRules, type Rules } from '../../../src/control/lease/rules.js';
import { SetStore } from './set-store.js';
import { allStoreRules, type StoreRules, VoteStore } from './vote-store.js';
import { WorldAgent } from './world-agent.js';
import { WorldChange } from './world-change.js';
import { incarnation, type SentHeartbeat, WorldHost } from './world-host.js';
import { type LinkState, WorldNetwork } from './world-network.js';
import { Clock, EventQueue, Random } from './world-parts.js';

/**
 * One host, its controllers, a bad network and clocks that drift, on a virtual clock: true time in
 * integer µs, which no process can read. The agents decide as in production; the store is played: it
 * takes writes late, loses answers, and commits the failover the moment a majority of votes stands.
 */
export interface WorldOptions {
  readonly controllers: number;
  /** Those of them that it begins with, and those that a change replaces them by; left out: all. */
  readonly first?: readonly number[];
  readonly next?: readonly number[];
  readonly seed: number;
  readonly rules?: Partial<Rules>;
  readonly storeRules?: Partial<StoreRules>;
  /** Writes whose answer is lost, and which are carried out up to `lateUs` later. */
  readonly lostAnswersPercent: number;
  readonly leaseMs: number;
  readonly heartbeatMs: number;
  readonly marginPercent: number;
  /** Rate of each clock against true time, host first; offsets in µs. */
  readonly rates: readonly number[];
  readonly offsetsUs: readonly number[];
  /** Agent: from pulse's news to what it does, from that to the vote in the store. */
  readonly stopDelayUs: number;
  readonly voteDelayUs: number;
}

interface Controller {
  readonly index: number;
  readonly clock: Clock;
  up: boolean;
  /** Grows with each start of pulse and of the agent: what an earlier one had under way is void. */
  start: number;
  agentStart: number;
  agent: WorldAgent;
  /** Until then the process stands still, or the store is out of reach. */
  readonly still: { pulseUs: number; agentUs: number; storeUs: number };
  term: GrantTerm;
  grants: HostGrants;
}

/** How late a write may be carried out whose answer was lost, and when its sender gives up. */
const lateUs = 900_000;
const giveUpUs = 100_000;

export class World {
  readonly #options: WorldOptions;
  readonly #rules: Rules;
  readonly #random: Random;
  readonly #queue = new EventQueue();
  readonly #controllers: Controller[] = [];
  readonly #network: WorldNetwork;
  readonly #store: VoteStore;
  readonly #sets: SetStore;
  readonly change: WorldChange;
  readonly #storeRules: StoreRules;
  /** What the store allows for a while, for a planned restart of the host's pulse. */
  #longer: LongLease | null = null;
  readonly #host: WorldHost;
  #ackId = 1n;
  #committedUs: number | undefined;
  #violation: string | undefined;

  constructor(options: WorldOptions) {
    this.#options = options;
    this.#rules = { ...allRules, ...options.rules };
    this.#random = new Random(options.seed);
    this.#network = new WorldNetwork(options.controllers, this.#random, this.#queue);
    this.#storeRules = { ...allStoreRules, ...options.storeRules };
    const all = Array.from({ length: options.controllers }, (_, index) => index);
    this.#sets = new SetStore(options.first ?? all, this.#storeRules);
    this.#store = new VoteStore(this.#sets, this.#storeRules);
    const clockOf = (which: number) =>
      new Clock(this.#queue, options.rates[which] ?? 1, options.offsetsUs[which] ?? 0);
    for (let index = 0; index < options.controllers; index++) {
      const clock = clockOf(index + 1);
      const term = this.#newTerm(clock, true);
      const still = { pulseUs: 0, agentUs: 0, storeUs: 0 };
      const agent = this.#newAgent(index, clock);
      const starts = { start: 0, agentStart: 0 };
      const parts = { index, clock, term, agent, still };
      this.#controllers.push({ ...parts, ...starts, up: true, grants: noGrants });
      this.#store.start(index, 0);
      this.#grant(index, { kind: 'watch', incarnation });
    }
    this.#host = new WorldHost({
      ...options,
      electorate: this.#sets.electorate,
      rules: this.#rules,
      queue: this.#queue,
      clock: clockOf(0),
      send: (index, heartbeat) => this.#sendHeartbeat(index, heartbeat),
      raised: () => this.#judge('lease made longer'),
    });
    this.change = new WorldChange({
      sets: this.#sets,
      rules: this.#storeRules,
      host: this.#host,
      next: options.next ?? all,
      all,
      longer: () => this.#longer !== null,
      delayUs: () => this.#random.below(this.#random.below(3) === 0 ? 1_500_000 : 30_000),
      agentDoes: (index, delayUs, action) => this.#agentDoes(index, delayUs, action),
      read: (index) => this.#readSet(index),
      tell: (index, sets) => this.#tellSets(index, sets),
      write: (index, carryOut) => {
        const nonce = this.#controller(index).start;
        const fenced = () => this.#store.isStart(index, nonce) || !this.#storeRules.refusalFenced;
        const write = () => fenced() && carryOut();
        this.#transact(index, write, (done) => {
          if (done === undefined) this.change.look();
        });
      },
      wait: (index, action) => this.#waitLease(index, action),
      committed: () => this.#reconfigured(),
    });
    this.#host.start();
  }

  get nowUs(): number {
    return this.#queue.nowUs;
  }
  get violation(): string | undefined {
    return this.#violation;
  }
  get committedUs(): number | undefined {
    return this.#committedUs;
  }
  get host(): Pick<WorldHost, 'effective' | 'refused' | 'lapses' | 'ackedByAll' | 'set'> {
    return this.#host;
  }
  get withdrawals(): number {
    return this.#store.withdrawals;
  }

  runUs(lengthUs: number): void {
    this.#queue.runUntil(this.nowUs + lengthUs, () => this.#violation !== undefined);
  }

  setLink(index: number, up: LinkState, down: LinkState): void {
    this.#network.setLink(index, up, down);
  }

  killHost(): void {
    this.#host.kill();
  }

  restartPulse(): void {
    this.#host.restartPulse();
  }

  /** Pulse and agent of one controller. */
  restartController(index: number, downUs: number, readUs: number): void {
    const controller = this.#controller(index);
    if (!controller.up) return;
    controller.up = false;
    controller.start++;
    controller.agentStart++;
    const { start } = controller;
    this.#queue.at(this.nowUs + downUs, () => {
      controller.up = true;
      controller.grants = noGrants;
      controller.term = this.#newTerm(controller.clock, false);
      this.#queue.at(this.nowUs + readUs, () => {
        if (controller.start === start) this.#takeControl(controller);
      });
    });
  }

  #takeControl(controller: Controller): void {
    const { index, start } = controller;
    this.#store.start(index, start);
    const lowest = this.#storeRules.refusalDurable ? this.#sets.refusesBelow(index) : 0;
    this.#tellSets(index, { lowest, newest: this.#sets.electorate.set });
    controller.agent = this.#newAgent(index, controller.clock);
    controller.term = { ...controller.term, controlled: true, longer: this.#longer };
    const stands = this.#store.stands(index) || this.#store.committed;
    if (stands) this.#grant(index, { kind: 'stop', incarnation, onlyIfLapsed: false });
    else this.#grant(index, { kind: 'watch', incarnation });
    controller.agent.connected(stands);
    this.change.again(index);
  }

  restartAgent(index: number): void {
    const controller = this.#controller(index);
    if (!controller.up || !controller.term.controlled) return;
    controller.agentStart++;
    controller.agent = this.#newAgent(index, controller.clock);
    const stopped = controller.grants.grants.some((grant) => grant.stopped);
    controller.agent.connected(stopped || this.#store.stands(index));
    this.change.again(index);
  }

  /** SIGSTOP of pulse, until SIGCONT: heartbeats wait in its socket. */
  stallPulse(index: number, lengthUs: number): void {
    const { still, start } = this.#controller(index);
    still.pulseUs = this.nowUs + lengthUs;
    this.#queue.at(still.pulseUs, () => {
      if (this.#controller(index).start !== start) return;
      this.#grant(index, { kind: 'stalled' });
      this.#grant(index, { kind: 'tick' });
    });
  }

  stallAgent(index: number, lengthUs: number): void {
    this.#controller(index).still.agentUs = this.nowUs + lengthUs;
  }

  /** Its writes reach the store only later. */
  cutStore(index: number, lengthUs: number): void {
    this.#controller(index).still.storeUs = this.nowUs + lengthUs;
  }

  /** What a commit retired before is read after the configuration. */
  #readSet(index: number): void {
    if (this.#store.committed || this.#store.stands(index)) {
      this.#grant(index, { kind: 'stop', incarnation, onlyIfLapsed: false });
    }
    this.#controller(index).agent.look();
  }

  #tellSets(index: number, { lowest, newest }: GrantedSets): void {
    const controller = this.#controller(index);
    const { sets } = controller.term;
    controller.term = {
      ...controller.term,
      sets: { lowest: Math.max(lowest, sets.lowest), newest: Math.max(newest, sets.newest) },
    };
  }

  /** One lease with margin, on the clock of whoever drives the change. */
  #waitLease(index: number, action: () => void): void {
    const { clock } = this.#controller(index);
    const { leaseMs, marginPercent } = this.#options;
    const leaseNs = BigInt(leaseMs) * 1_000_000n;
    const endNs = clock.nowNs() + promiseNs({ leaseNs, marginPercent });
    this.#agentDoes(index, clock.untilUs(endNs), action);
  }

  /** Other majorities count now: votes that stand may suffice. */
  #reconfigured(): void {
    this.#store.look();
    if (!this.#store.committed || this.#committedUs !== undefined) return;
    this.#committedUs = this.nowUs;
    this.#judge('failover committed after the controllers changed');
  }

  /** An agent that wants this incarnation stopped and voted out, lapsed or not. */
  stop(index: number): void {
    const controller = this.#controller(index);
    if (controller.up && controller.term.controlled) controller.agent.demand(false);
  }

  /** The host's agent writes down that it will ask for a longer lease, then asks. */
  lengthen(leaseMs: number): void {
    if (!this.#host.up || this.#longer !== null) return;
    const leaseNs = BigInt(leaseMs) * 1_000_000n;
    this.#allow({ incarnation, leaseNs });
    this.#host.hold({ kind: 'wish', leaseNs });
  }

  /** Its pulse restarts; what was written down is removed when no such lease can be running. */
  restartPulseAsPlanned(): void {
    this.#host.restartPulse();
    this.#host.whenOrdinary(() => this.#allow(null));
  }

  /** Controllers hear of it by their watch. */
  #allow(longer: LongLease | null): void {
    this.#longer = longer;
    for (const { index } of this.#controllers) {
      this.#agentDoes(index, this.#random.below(10_000), () => {
        const controller = this.#controller(index);
        if (controller.term.controlled) controller.term = { ...controller.term, longer };
      });
    }
  }

  #newAgent(index: number, clock: Clock): WorldAgent {
    const { leaseMs } = this.#options;
    return new WorldAgent({
      index,
      leaseMs,
      rules: this.#storeRules,
      store: this.#store,
      nowMs: () => clock.nowMs(),
      counts: () => this.#sets.counts(index),
      nonce: () => this.#controller(index).start,
      stopAcks: (onlyIfLapsed) => this.#grant(index, { kind: 'stop', incarnation, onlyIfLapsed }),
      resumeAcks: () => this.#grant(index, { kind: 'resume', incarnation }),
      later: (action, delayMs = 0) => {
        const delayUs = Math.max(this.#options.stopDelayUs, Math.ceil(delayMs * 1_000));
        this.#agentDoes(index, delayUs, action);
      },
      transact: (carryOut, answer) => this.#transact(index, carryOut, answer),
    });
  }

  /** After a delay, unless that agent is no more; one that stands still does it when it goes on. */
  #agentDoes(index: number, delayUs: number, action: () => void): void {
    const { agentStart } = this.#controller(index);
    const run = () => {
      const { agentStart: now, up, still } = this.#controller(index);
      if (now !== agentStart || !up) return;
      if (still.agentUs > this.nowUs) this.#queue.at(still.agentUs, run);
      else action();
    };
    this.#queue.at(this.nowUs + delayUs, run);
  }

  #transact(
    index: number,
    carryOut: () => boolean,
    answer: (done: boolean | undefined) => void,
  ): void {
    const cutUs = Math.max(0, this.#controller(index).still.storeUs - this.nowUs);
    const lost = cutUs > 0 || this.#random.below(100) < this.#options.lostAnswersPercent;
    const landUs = cutUs + this.#options.voteDelayUs + (lost ? this.#random.below(lateUs) : 0);
    if (lost) this.#agentDoes(index, giveUpUs, () => answer(undefined));
    this.#queue.at(this.nowUs + landUs, () => {
      const done = carryOut();
      if (this.#store.committed && this.#committedUs === undefined) {
        this.#committedUs = this.nowUs;
        this.#judge('failover committed');
      }
      if (!lost) this.#agentDoes(index, 0, () => answer(done));
      // The watch tells everybody.
      for (const { index: each, agent } of this.#controllers) {
        if (done) this.#agentDoes(each, this.#options.stopDelayUs, () => agent.look());
      }
      if (done) this.change.look();
    });
  }

  /** Sends any packet of the past once more. */
  replay(count: number, only: 'any' | 'heartbeats' = 'any'): void {
    this.#network.replay(count, only);
  }

  #newTerm(clock: Clock, controlled: boolean): GrantTerm {
    const { leaseMs, marginPercent } = this.#options;
    const leaseNs = BigInt(leaseMs) * 1_000_000n;
    const inheritedUntilNs = clock.nowNs() + promiseNs({ leaseNs, marginPercent });
    const sets = { lowest: 0, newest: 0 };
    return { inheritedUntilNs, controlled, leaseNs, marginPercent, longer: null, sets };
  }

  #controller(index: number): Controller {
    const controller = this.#controllers[index];
    if (controller === undefined) throw new Error(`no controller ${index}`);
    return controller;
  }

  #sendHeartbeat(index: number, heartbeat: SentHeartbeat): void {
    this.#network.toController(index, () => {
      const { still } = this.#controller(index);
      const hear = () => {
        const ackId = this.#ackId++;
        if (!this.#controller(index).up) return;
        this.#grant(index, { kind: 'heartbeat', ...heartbeat, ackId });
      };
      if (still.pulseUs > this.nowUs) this.#queue.at(still.pulseUs, hear);
      else hear();
    });
  }

  #grant(index: number, event: GrantEvent): void {
    const controller = this.#controller(index);
    const { term, grants, clock } = controller;
    const step = stepGrants(grants, event, clock.nowNs(), term, this.#rules);
    controller.grants = step.state;
    for (const output of step.outputs) this.#obeyController(controller, output);
    const wakeNs = grantsWakeNs(controller.grants);
    if (wakeNs === undefined || !controller.term.controlled) return;
    const { start } = controller;
    const wake = this.nowUs + Math.max(event.kind === 'tick' ? 1 : 0, clock.untilUs(wakeNs));
    this.#queue.at(wake, () => {
      const now = grantsWakeNs(controller.grants);
      if (controller.start !== start || !controller.up || now === undefined) return;
      if (controller.still.pulseUs > this.nowUs) return;
      if (now <= clock.nowNs()) this.#grant(index, { kind: 'tick' });
    });
  }

  #obeyController({ index, agent, clock }: Controller, output: GrantOutput): void {
    const soon = (action: () => void) => this.#agentDoes(index, this.#options.stopDelayUs, action);
    const atMs = clock.nowMs();
    switch (output.kind) {
      case 'answer': {
        const { answer, nonce, seq, ackId, leaseNs } = output;
        const ids = { incarnation, nonce, seq, ackId, leaseNs };
        const event: HolderEvent = { kind: 'answer', answer, from: `c${index}`, ...ids };
        this.#network.toHost(index, () => this.#host.hold(event));
        return;
      }
      case 'lapsed':
        soon(() => agent.tell({ kind: 'lapsed', lapse: { lastAckAgoMs: 0, atMs } }));
        return;
      case 'renewed':
        soon(() => agent.tell({ kind: 'renewed' }));
        return;
      case 'ails':
        soon(() => agent.tell({ kind: 'ails', ailments: output.ailments }));
        return;
      case 'heard': {
        const sinceMs = Number(output.sinceNs) / 1e6;
        soon(() => agent.tell({ kind: 'heard', heard: { sinceMs, atMs } }));
        return;
      }
      case 'stop-in-force':
        soon(() => agent.inForce());
        return;
      case 'stop-refused':
        soon(() => agent.refused());
        return;
    }
  }

  /** The one thing that must never be. */
  #judge(what: string): void {
    if (this.#committedUs === undefined || !this.#host.effective) return;
    this.#violation ??= `${what} at ${this.nowUs} µs, committed at ${this.#committedUs}: two owners`;
  }
}
