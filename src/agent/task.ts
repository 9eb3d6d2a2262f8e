import type { Phase } from '../control/records.js';
import type { Role } from '../control/view.js';
import { within } from '../deadline.js';
import { messageOf } from '../errors.js';
import { preparedEpoch } from '../network/types.js';
import type { Timers } from '../store/timers.js';
import { type Log, Loop } from './loop.js';

/** What the store wants of this host for one role. */
export type Duty =
  | {
      readonly kind: 'hold';
      readonly epoch: number;
      readonly incarnation: number;
      /** Record that this takeover belongs to; null for a first placement. */
      readonly failover: string | null;
    }
  /**
   * It is to move, and those who are needed then have not all answered: keep what stands. Nothing is taken,
   * either: an agent before this one may have let go, and its hand-over be on its way.
   */
  | {
      readonly kind: 'stay';
      readonly epoch: number;
      readonly incarnation: number;
      readonly move: number;
    }
  /** Stop in good order, then hand over. `move`: which one, as the assignment says. */
  | {
      readonly kind: 'drain';
      readonly epoch: number;
      readonly incarnation: number;
      readonly move?: number;
    }
  /** It is another's, and would come here if that one failed: have ready what may be. */
  | {
      readonly kind: 'ready';
      readonly incarnation: number;
      /** It is about to come. */
      readonly move?: number;
    }
  /** It is somebody else's: let go at once. */
  | { readonly kind: 'none' };

export interface TaskState {
  readonly phase: Phase;
  readonly epoch: number;
  readonly detail: string;
}

/** What a kind of role does when it comes, stays and goes. */
export interface RoleWork {
  /** Makes all of it exist and running. Called again whenever something changed: idempotent. */
  take(
    epoch: number,
    incarnation: number,
    failover: string | null,
    signal: AbortSignal,
  ): Promise<void>;
  /** Has ready what may be before the role is this host's: nothing of it is up or reachable. */
  prepare(incarnation: number, signal: AbortSignal): Promise<void>;
  /** Stops in good order; when it returns, the role is silent here and its disks are let go of. */
  release(signal: AbortSignal): Promise<void>;
  /** Cuts it off at once: data path first. */
  abort(signal: AbortSignal): Promise<void>;
  /** Writes the next assignment after a release; what is left here goes when that is done. */
  handOver(drainStartedMs: number): Promise<void>;
}

/** How long letting go of a role may take before it is tried anew. */
const releaseBudgetMs = 30_000;

/**
 * One role on this host. Whatever the store says last wins: a takeover under way is called off when
 * the role moves on; one thing is done at a time.
 */
export class RoleTask {
  readonly role: Role;
  readonly #work: RoleWork;
  readonly #parts: TaskParts;
  readonly #loop: Loop;
  #duty: Duty = { kind: 'none' };
  #dutyText = '';
  #wish = '';
  #step = new AbortController();
  /** Epoch of which something may stand on this host; undefined when nothing does. */
  #standing: number | undefined;
  #state: TaskState = { phase: 'unplaced', epoch: 0, detail: '' };
  #drainStartedMs: number | undefined;
  #readyFor: number | undefined;
  /**
   * The epoch that works here, from when it does until letting go of it begins; what an agent before this
   * one left counts as found until it was looked after.
   */
  #carried: { readonly epoch: number; readonly found: boolean } | undefined;
  readonly #dropping = new Set<{ resolve(): void; reject(why: Error): void }>();

  constructor(role: Role, work: RoleWork, parts: TaskParts) {
    this.role = role;
    this.#work = work;
    this.#parts = parts;
    this.#loop = new Loop(`${role.kind} ${role.name}`, parts, () => this.#run());
  }

  get state(): TaskState {
    return this.#state;
  }

  /** The move that this host has all ready for; undefined: none. */
  get readyFor(): number | undefined {
    return this.#readyFor;
  }

  /** Whether anything of the role may be left on this host. */
  get stands(): boolean {
    return this.#standing !== undefined;
  }

  /** What works here; undefined: nothing, or not yet, or not any more. */
  get carried(): { readonly epoch: number; readonly found: boolean } | undefined {
    return this.#carried;
  }

  /** Something of an earlier agent's life was found here. */
  adopt(epoch: number): void {
    if (this.#standing !== undefined) return;
    this.#standing = epoch;
    if (epoch !== preparedEpoch) this.#carried = { epoch, found: true };
  }

  /**
   * What the store wants now. `wish` stands for all else that the role is made of (addresses, disks,
   * members, health): when only that changes, what is there is corrected and nothing called off.
   */
  set(duty: Duty, wish = ''): void {
    // What has begun is ended, whoever is silent by now: only another assignment calls it off.
    const begun = this.#duty;
    if (duty.kind === 'stay' && begun.kind === 'drain' && begun.move === duty.move) return;
    const text = JSON.stringify(duty);
    if (text === this.#dutyText) {
      if (wish !== this.#wish) this.#loop.nudge();
      this.#wish = wish;
      return;
    }
    this.#dutyText = text;
    this.#wish = wish;
    this.#duty = duty;
    this.#readyFor = undefined;
    this.#step.abort(new Error('the assignment changed'));
    this.#step = new AbortController();
    this.#loop.trigger();
  }

  /** Looks whether what should be there still is. */
  check(): void {
    this.#loop.nudge();
  }

  async stop(): Promise<void> {
    const why = new Error('the agent stops');
    this.#step.abort(why);
    for (const { reject } of this.#dropping) reject(why);
    this.#dropping.clear();
    await this.#loop.stop();
  }

  /** Lets go of everything now; resolves when nothing is left, rejects when stopped before. */
  async drop(): Promise<void> {
    this.set({ kind: 'none' });
    if (this.#standing === undefined) return;
    const gone = new Promise<void>((resolve, reject) => {
      this.#dropping.add({ resolve, reject });
    });
    this.#loop.trigger();
    await gone;
  }

  async #run(): Promise<void> {
    const duty = this.#duty;
    // Of this duty: aborted by the next one, and by `stop`.
    const { signal } = this.#step;
    try {
      await this.#follow(duty, signal);
    } catch (thrown) {
      if (signal.aborted) return;
      // Of what was only prepared there is nothing to tell: it would have been a saving of time.
      if (duty.kind !== 'ready') {
        const epoch = duty.kind === 'none' ? this.#state.epoch : duty.epoch;
        this.#report('failed', epoch, messageOf(thrown));
      }
      throw thrown;
    }
  }

  async #follow(duty: Duty, signal: AbortSignal): Promise<void> {
    if (duty.kind === 'none') {
      if (this.#standing === undefined) return;
      this.#carried = undefined;
      await this.#work.abort(this.#within(releaseBudgetMs));
      this.#gone();
      return;
    }
    const wanted = duty.kind === 'ready' ? preparedEpoch : duty.epoch;
    if (![undefined, preparedEpoch, wanted].includes(this.#standing)) {
      this.#carried = undefined;
      await this.#work.abort(this.#within(releaseBudgetMs));
      this.#gone();
      // Whoever waited for nothing to be left must not see the next one begin.
      signal.throwIfAborted();
    }
    if (duty.kind === 'ready') {
      this.#standing = preparedEpoch;
      await this.#work.prepare(duty.incarnation, signal);
      if (signal.aborted || duty.move === undefined) return;
      this.#readyFor = duty.move;
      this.#parts.onState();
      return;
    }
    if (duty.kind === 'stay') return;
    if (duty.kind === 'drain') {
      this.#carried = undefined;
      this.#drainStartedMs ??= this.#parts.bootMs();
      this.#report('stopping', duty.epoch, 'stopping in good order');
      await this.#work.release(this.#within(releaseBudgetMs, signal));
      await this.#work.handOver(this.#drainStartedMs);
      await this.#work.abort(this.#within(releaseBudgetMs));
      this.#gone();
      return;
    }
    this.#drainStartedMs = undefined;
    this.#standing = duty.epoch;
    if (this.#state.phase !== 'running' || this.#state.epoch !== duty.epoch) {
      this.#report('starting', duty.epoch, '');
    }
    await this.#work.take(duty.epoch, duty.incarnation, duty.failover, signal);
    this.#carried = { epoch: duty.epoch, found: false };
    this.#report('running', duty.epoch, '');
  }

  #within(timeoutMs: number, parent?: AbortSignal): AbortSignal {
    return within(timeoutMs, parent, this.#parts.timers);
  }

  #gone(): void {
    this.#standing = undefined;
    for (const { resolve } of this.#dropping) resolve();
    this.#dropping.clear();
    this.#report('unplaced', this.#state.epoch, '');
    this.#parts.onGone();
  }

  #report(phase: Phase, epoch: number, detail: string): void {
    this.#state = { phase, epoch, detail };
    this.#parts.onState();
  }
}

export interface TaskParts {
  readonly log: Log;
  readonly timers: Timers;
  bootMs(): number;
  /** The state changed: report it. */
  onState(): void;
  /** Nothing of the role is left: networks may be. */
  onGone(): void;
}
