import { grantsWakeNs, stepGrants } from '../../../src/control/lease/controller.js';
import type { GrantEvent, GrantOutput } from '../../../src/control/lease/grant-events.js';
import {
  type GrantTerm,
  type HostGrants,
  noGrants,
  promiseNs,
} from '../../../src/control/lease/grants.js';
import {
  type HolderEvent,
  type HolderOutput,
  type HolderState,
  holderWakeNs,
  isEffective,
  isRefused,
  startHolder,
  stepHolder,
} from '../../../src/control/lease/holder.js';
import { allRules, type Rules } from '../../../src/control/lease/rules.js';
import { majority } from '../../../src/control/votes.js';
import { EventQueue, Random } from './world-parts.js';

/**
 * One host, its controllers, a bad network and clocks that drift, on a virtual clock: true time in
 * integer µs, which no process can read. The agents and the store are played as the design has
 * them: stop, then vote; votes durable; the failover commits the moment a majority of votes stands.
 */
export interface WorldOptions {
  readonly controllers: number;
  readonly seed: number;
  readonly rules?: Partial<Rules>;
  readonly leaseMs: number;
  readonly heartbeatMs: number;
  readonly marginPercent: number;
  /** Rate of each clock against true time, host first; offsets in µs. */
  readonly rates: readonly number[];
  readonly offsetsUs: readonly number[];
  /** Agent: from `lapsed` to `stop-acks`, from its answer to the vote in the store. */
  readonly stopDelayUs: number;
  readonly voteDelayUs: number;
}

/** What the network does to packets of one direction between host and one controller. */
export interface LinkState {
  readonly lossPercent: number;
  readonly delayUs: readonly [number, number];
  readonly duplicatePercent: number;
}

interface Controller {
  readonly index: number;
  up: boolean;
  /** Grows with each start: what an earlier process still had under way is void. */
  start: number;
  term: GrantTerm;
  grants: HostGrants;
}

const incarnation = 1;

export class World {
  readonly #options: WorldOptions;
  readonly #rules: Rules;
  readonly #random: Random;
  readonly #queue = new EventQueue();
  readonly #controllers: Controller[] = [];
  readonly #up: LinkState[];
  readonly #down: LinkState[];
  /** Everything ever sent, for replays. */
  readonly #captured: { readonly deliver: () => void; readonly toController: number | null }[] = [];
  readonly #votes = new Set<number>();
  #holder: HolderState;
  #holderUp = true;
  /** The kernel's map: outlives the pulse process. */
  #mapNs: bigint | null = null;
  #nonce = 0;
  #ackId = 1n;
  #committedUs: number | undefined;
  #violation: string | undefined;

  constructor(options: WorldOptions) {
    this.#options = options;
    this.#rules = { ...allRules, ...options.rules };
    this.#random = new Random(options.seed);
    const good: LinkState = { lossPercent: 0, delayUs: [0, 2_000], duplicatePercent: 0 };
    this.#up = Array.from({ length: options.controllers }, () => good);
    this.#down = [...this.#up];
    for (let index = 0; index < options.controllers; index++) {
      const term = this.#newTerm(index, true);
      this.#controllers.push({ index, up: true, start: 0, term, grants: noGrants });
      this.#grant(index, { kind: 'watch', incarnation });
    }
    this.#holder = this.#newHolder();
    this.#tickHolder();
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
  get effective(): boolean {
    return isEffective({ deadlineNs: this.#mapNs }, this.#hostNs(), this.#rules);
  }
  get refused(): boolean {
    return isRefused(this.#holder);
  }

  runUs(lengthUs: number): void {
    this.#queue.runUntil(this.nowUs + lengthUs, () => this.#violation !== undefined);
  }

  setLink(index: number, up: LinkState, down: LinkState): void {
    this.#up[index] = up;
    this.#down[index] = down;
  }

  /** The host's power is cut; its map does not matter any more, but its packets are still about. */
  killHost(): void {
    this.#holderUp = false;
    this.#mapNs = null;
  }

  restartPulse(): void {
    if (!this.#holderUp) return;
    this.#holder = this.#newHolder();
    this.#tickHolder();
  }

  restartController(index: number, downUs: number, readUs: number): void {
    const controller = this.#controller(index);
    if (!controller.up) return;
    controller.up = false;
    controller.start++;
    const { start } = controller;
    this.#queue.at(this.nowUs + downUs, () => {
      controller.up = true;
      controller.grants = noGrants;
      controller.term = this.#newTerm(index, false);
      this.#queue.at(this.nowUs + readUs, () => {
        if (controller.start !== start) return;
        controller.term = { ...controller.term, controlled: true };
        if (this.#votes.has(index)) {
          this.#grant(index, { kind: 'stop', incarnation, onlyIfLapsed: false });
        } else this.#grant(index, { kind: 'watch', incarnation });
      });
    });
  }

  /** An agent that wants this incarnation stopped and voted out, lapsed or not. */
  stop(index: number): void {
    const controller = this.#controller(index);
    if (!controller.up || !controller.term.controlled) return;
    this.#grant(index, { kind: 'stop', incarnation, onlyIfLapsed: false });
  }

  withdraw(index: number): void {
    const controller = this.#controller(index);
    const few = this.#votes.size < majority(this.#options.controllers);
    if (!controller.up || !few || !this.#votes.delete(index)) return;
    controller.start++; // fences its own retries
    this.#grant(index, { kind: 'resume', incarnation });
  }

  /** Sends any packet of the past once more. */
  replay(count: number, only: 'any' | 'heartbeats' = 'any'): void {
    for (let done = 0; done < count && this.#captured.length > 0; done++) {
      const packet = this.#captured[this.#random.below(this.#captured.length)];
      if (packet === undefined || (only === 'heartbeats' && packet.toController === null)) continue;
      packet.deliver();
    }
  }

  #newTerm(index: number, controlled: boolean): GrantTerm {
    const { leaseMs, marginPercent } = this.#options;
    const leaseNs = BigInt(leaseMs) * 1_000_000n;
    const inheritedUntilNs = this.#controllerNs(index) + promiseNs({ leaseNs, marginPercent });
    return { inheritedUntilNs, controlled, leaseNs, marginPercent };
  }

  #newHolder(): HolderState {
    const { controllers, heartbeatMs, leaseMs } = this.#options;
    const terms = {
      incarnation,
      nonce: `n${++this.#nonce}`,
      controllers: Array.from({ length: controllers }, (_, index) => `c${index}`),
      heartbeatNs: BigInt(heartbeatMs) * 1_000_000n,
      leaseNs: BigInt(leaseMs) * 1_000_000n,
    };
    return startHolder(terms, this.#hostNs());
  }

  #clock(which: number): bigint {
    const us = this.nowUs * (this.#options.rates[which] ?? 1);
    return BigInt(Math.floor((us + (this.#options.offsetsUs[which] ?? 0)) * 1_000));
  }
  #hostNs(): bigint {
    return this.#clock(0);
  }
  #controllerNs(index: number): bigint {
    return this.#clock(index + 1);
  }
  /** True µs from now until this clock shows `atNs`. */
  #untilUs(which: number, atNs: bigint): number {
    const leftUs = Number(atNs - this.#clock(which)) / 1_000 / (this.#options.rates[which] ?? 1);
    return Math.max(0, Math.ceil(leftUs));
  }
  #controller(index: number): Controller {
    const controller = this.#controllers[index];
    if (controller === undefined) throw new Error(`no controller ${index}`);
    return controller;
  }

  #tickHolder(): void {
    this.#hold({ kind: 'tick' });
    const { nonce } = this.#holder.terms;
    const wake = this.nowUs + Math.max(1, this.#untilUs(0, holderWakeNs(this.#holder)));
    this.#queue.at(wake, () => {
      if (this.#holder.terms.nonce === nonce && this.#holderUp) this.#tickHolder();
    });
  }

  #hold(event: HolderEvent): void {
    if (!this.#holderUp) return;
    const step = stepHolder(this.#holder, event, this.#hostNs(), this.#rules);
    this.#holder = step.state;
    for (const output of step.outputs) this.#obeyHolder(output);
  }

  #obeyHolder(output: HolderOutput): void {
    if (output.kind === 'raise') {
      if (this.#mapNs === null || output.deadlineNs > this.#mapNs) this.#mapNs = output.deadlineNs;
      this.#judge('lease made longer');
    } else if (output.kind === 'heartbeat') {
      const { seq, sentAtNs, echo } = output;
      const { nonce } = this.#holder.terms;
      const index = Number(output.to.slice(1));
      const ids = { incarnation, nonce, seq, sentAtNs, echo };
      this.#transmit(this.#up[index], index, () => {
        const ackId = this.#ackId++;
        if (this.#controller(index).up) this.#grant(index, { kind: 'heartbeat', ...ids, ackId });
      });
    }
  }

  #grant(index: number, event: GrantEvent): void {
    const controller = this.#controller(index);
    const { term, grants } = controller;
    const step = stepGrants(grants, event, this.#controllerNs(index), term, this.#rules);
    controller.grants = step.state;
    for (const output of step.outputs) this.#obeyController(controller, output);
    const wakeNs = grantsWakeNs(controller.grants);
    if (wakeNs === undefined || !controller.term.controlled) return;
    const { start } = controller;
    const wake =
      this.nowUs + Math.max(event.kind === 'tick' ? 1 : 0, this.#untilUs(index + 1, wakeNs));
    this.#queue.at(wake, () => {
      const now = grantsWakeNs(controller.grants);
      if (controller.start !== start || !controller.up || now === undefined) return;
      if (now <= this.#controllerNs(index)) this.#grant(index, { kind: 'tick' });
    });
  }

  #obeyController(controller: Controller, output: GrantOutput): void {
    const { index, start } = controller;
    const later = (us: number, action: () => void) =>
      this.#queue.at(this.nowUs + us, () => {
        if (controller.start === start && controller.up) action();
      });
    if (output.kind === 'answer') {
      const { answer, nonce, seq, ackId, leaseNs } = output;
      const ids = { incarnation, nonce, seq, ackId, leaseNs };
      const event: HolderEvent = { kind: 'answer', answer, from: `c${index}`, ...ids };
      this.#transmit(this.#down[index], null, () => this.#hold(event));
    } else if (output.kind === 'lapsed') {
      later(this.#options.stopDelayUs, () => this.stop(index));
    } else if (output.kind === 'stop-in-force') {
      later(this.#options.voteDelayUs, () => this.#vote(index));
    }
  }

  #vote(index: number): void {
    this.#votes.add(index);
    if (this.#committedUs !== undefined) return;
    if (this.#votes.size < majority(this.#options.controllers)) return;
    this.#committedUs = this.nowUs;
    this.#judge('failover committed');
  }

  /** The one thing that must never be. */
  #judge(what: string): void {
    if (this.#committedUs === undefined || !this.effective) return;
    this.#violation ??= `${what} at ${this.nowUs} µs, committed at ${this.#committedUs}: two owners`;
  }

  #transmit(link: LinkState | undefined, toController: number | null, deliver: () => void): void {
    this.#captured.push({ deliver, toController });
    if (link === undefined || this.#random.below(100) < link.lossPercent) return;
    const copies = this.#random.below(100) < link.duplicatePercent ? 2 : 1;
    for (let copy = 0; copy < copies; copy++) {
      const [least, most] = link.delayUs;
      this.#queue.at(this.nowUs + least + this.#random.below(most - least + 1), deliver);
    }
  }
}
