import type { Electorate } from '../../../src/control/electorate.js';
import { type Ailments, isDark } from '../../../src/control/lease/ailments.js';
import {
  type HolderState,
  holderWakeNs,
  isEffective,
  isRefused,
  startHolder,
  stepHolder,
} from '../../../src/control/lease/holder.js';
import type { HolderEvent, HolderOutput } from '../../../src/control/lease/holder-events.js';
import type { Rules } from '../../../src/control/lease/rules.js';
import type { Clock, EventQueue } from './world-parts.js';

export const incarnation = 1;

export type SentHeartbeat = Omit<Extract<HolderOutput, { kind: 'heartbeat' }>, 'kind' | 'to'> & {
  readonly incarnation: number;
  readonly nonce: string;
  readonly ailments: Ailments;
};

export interface HostSurroundings {
  /** The controllers that it begins with; names are indexes. */
  readonly electorate: Electorate;
  readonly heartbeatMs: number;
  readonly leaseMs: number;
  readonly rules: Rules;
  readonly queue: EventQueue;
  readonly clock: Clock;
  send(index: number, heartbeat: SentHeartbeat): void;
  /** The deadline in the kernel's map is later than before. */
  raised(): void;
}

/** The host of the world: its pulse, which may restart, and the kernel's map, which stays. */
export class WorldHost {
  readonly #around: HostSurroundings;
  #holder: HolderState;
  #up = true;
  #mapNs: bigint | null = null;
  #starts = 0;
  #electorate: Electorate;
  #lapses = 0;
  readonly #startedNs: bigint;

  constructor(around: HostSurroundings) {
    this.#around = around;
    this.#electorate = around.electorate;
    this.#startedNs = around.clock.nowNs();
    this.#holder = this.#newHolder();
  }

  get up(): boolean {
    return this.#up;
  }
  get effective(): boolean {
    const { clock, rules } = this.#around;
    return isEffective({ deadlineNs: this.#mapNs }, clock.nowNs(), rules);
  }
  get refused(): boolean {
    return isRefused(this.#holder);
  }
  /** How often its pulse noticed that the lease had ended. */
  get lapses(): number {
    return this.#lapses;
  }
  /** Whether every controller's newest ack still carries the lease. */
  get ackedByAll(): boolean {
    const nowNs = this.#around.clock.nowNs();
    return [...this.#holder.peers.values()].every(
      ({ carriesUntilNs }) => carriesUntilNs !== null && nowNs < carriesUntilNs,
    );
  }

  start(): void {
    this.#tick();
  }

  /** The host's power is cut; its map does not matter any more, but its packets are still about. */
  kill(): void {
    this.#up = false;
    this.#mapNs = null;
  }

  get set(): number {
    return this.#electorate.set;
  }

  /** Counts its lease by other controllers from now on: like a restart of pulse. */
  move(electorate: Electorate): void {
    this.#electorate = electorate;
    this.restartPulse();
  }

  restartPulse(): void {
    if (!this.#up) return;
    this.#holder = this.#newHolder();
    this.#tick();
  }

  hold(event: HolderEvent): void {
    if (!this.#up) return;
    const { clock, rules } = this.#around;
    const step = stepHolder(this.#holder, event, clock.nowNs(), rules);
    this.#holder = step.state;
    for (const output of step.outputs) this.#obey(output);
  }

  /** When its agent sees that no lease but an ordinary one can be running any more. */
  whenOrdinary(action: () => void): void {
    const { leaseMs, queue, clock } = this.#around;
    if (!this.#up) return;
    const leaseNs = BigInt(leaseMs) * 1_000_000n;
    const endNs = (this.#mapNs ?? 0n) + leaseNs;
    queue.at(queue.nowUs + Math.max(1, clock.untilUs(endNs)), () => {
      if ((this.#mapNs ?? 0n) <= clock.nowNs() + leaseNs) action();
      else this.whenOrdinary(action);
    });
  }

  #newHolder(): HolderState {
    const { heartbeatMs, leaseMs, clock } = this.#around;
    const { set, sets } = this.#electorate;
    const terms = {
      incarnation,
      nonce: `n${++this.#starts}`,
      set,
      controllers: sets.map((names) => names.map((name) => `c${name}`)),
      heartbeatNs: BigInt(heartbeatMs) * 1_000_000n,
      leaseNs: BigInt(leaseMs) * 1_000_000n,
    };
    return startHolder(terms, clock.nowNs());
  }

  #tick(): void {
    this.hold({ kind: 'tick' });
    const { queue, clock } = this.#around;
    const { nonce } = this.#holder.terms;
    queue.at(queue.nowUs + Math.max(1, clock.untilUs(holderWakeNs(this.#holder))), () => {
      if (this.#holder.terms.nonce === nonce && this.#up) this.#tick();
    });
  }

  #obey(output: HolderOutput): void {
    switch (output.kind) {
      case 'raise':
        if (this.#mapNs !== null && output.deadlineNs <= this.#mapNs) return;
        this.#mapNs = output.deadlineNs;
        this.#around.raised();
        return;
      case 'lease-lapsed':
        this.#lapses++;
        return;
      case 'heartbeat': {
        const { seq, sentAtNs, echo, wishNs, set } = output;
        const { nonce } = this.#holder.terms;
        const leaseNs = BigInt(this.#around.leaseMs) * 1_000_000n;
        const dark = isDark(this.#mapNs ?? this.#startedNs, leaseNs, sentAtNs);
        const ailments = { dark, agentAway: false };
        const ids = { incarnation, nonce, seq, sentAtNs, echo, wishNs, set, ailments };
        this.#around.send(Number(output.to.slice(1)), ids);
        return;
      }
      case 'lease-held':
      case 'refused':
    }
  }
}
