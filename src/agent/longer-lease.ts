import { longerKey } from '../control/keys.js';
import type { LongerLeaseRecord } from '../control/records.js';
import type { Kept } from '../control/view.js';
import { configOf } from '../control/view.js';
import type { Timers } from '../store/timers.js';
import type { Store } from '../store/types.js';
import type { Clock } from './clock.js';
import type { ClusterWatch } from './cluster-watch.js';
import type { Journal } from './journal.js';
import { type Log, Loop } from './loop.js';
import { order, type PulseHello, type PulsePort } from './pulse-port.js';

/** A restart that was planned and did not come by then is not waited for any more. */
const patienceMs = 30_000;

/**
 * A longer lease of this host, for a planned restart of its pulse: `understudy pulse-restart` writes
 * the record. While it names the pulse that runs, pulse asks for that lease; as soon as another one
 * runs, or none came in time, for the ordinary one.
 *
 * The record stays until no such lease can be running: a controller that restarts, with or without
 * its machine, reads there what it may have promised.
 */
export class LongerLease {
  readonly #parts: LongerLeaseParts;
  readonly #loop: Loop;
  #hello: PulseHello | undefined;
  /** Revision of the record that pulse asks by; undefined when it asks for the ordinary lease. */
  #asked: number | undefined;
  #first: { readonly revision: number; readonly atMs: number } | undefined;
  /** Since when the lease is seen to be an ordinary one. */
  #ordinarySinceMs: number | undefined;

  constructor(parts: LongerLeaseParts) {
    this.#parts = parts;
    this.#loop = new Loop('longer lease', parts, () => this.#work());
  }

  start(): void {
    this.#parts.pulse.onConnect((hello) => {
      this.#hello = hello;
      this.#asked = undefined;
      this.#loop.trigger();
    });
    this.#parts.watch.onChange((view) => {
      if (view.longer.has(this.#parts.host) || this.#asked !== undefined) this.#loop.trigger();
    });
  }

  /** This host acts under another incarnation. */
  look(): void {
    this.#loop.trigger();
  }

  async stop(): Promise<void> {
    await this.#loop.stop();
  }

  async #work(): Promise<void> {
    const { watch, host, clock } = this.#parts;
    const record = watch.view.longer.get(host);
    const hello = this.#hello;
    const mine = this.#parts.incarnation();
    if (hello === undefined || mine === undefined) return;
    if (record === undefined) {
      await this.#ask(mine, undefined, 0);
      return;
    }
    const nowMs = clock.bootMs();
    if (this.#first?.revision !== record.revision) {
      this.#first = { revision: record.revision, atMs: nowMs };
      this.#ordinarySinceMs = undefined;
    }
    const { incarnation, nonce, leaseMs } = record.value;
    const leftMs = this.#first.atMs + patienceMs - nowMs;
    if (incarnation === mine && nonce === hello.nonce && leftMs > 0) {
      await this.#ask(mine, record.revision, leaseMs);
      this.#loop.triggerIn(leftMs);
      return;
    }
    await this.#ask(mine, undefined, 0);
    // What an incarnation before this one had is gone.
    if (incarnation < mine) await this.#remove(record);
    else await this.#removeWhenOver(record, nonce === hello.nonce);
  }

  async #ask(incarnation: number, revision: number | undefined, leaseMs: number): Promise<void> {
    if (this.#asked === revision) return;
    await order(this.#parts.pulse, { kind: 'lengthen', incarnation, leaseMs });
    this.#asked = revision;
  }

  /**
   * The deadline in the kernel is never lowered. Once it is as near as an ordinary lease makes it, one
   * more ordinary lease ends all that a longer one gave to a pulse that is gone. One that still runs
   * (`asked` it) also counts what a single controller gave, which that deadline does not show: with
   * an ordinary acknowledgement of another one it would make a majority for all its length.
   */
  async #removeWhenOver(record: Kept<LongerLeaseRecord>, asked: boolean): Promise<void> {
    const { pulse, watch, clock } = this.#parts;
    const reply = await pulse.request({ kind: 'status' });
    const leaseMs = configOf(watch.view)?.timing.leaseMs;
    if (reply.kind !== 'status' || leaseMs === undefined) throw new Error('pulse did not say');
    const runsMs = (reply.deadlineMs ?? 0) - reply.nowMs;
    if (runsMs > leaseMs) {
      this.#ordinarySinceMs = undefined;
      this.#loop.triggerIn(runsMs - leaseMs);
      return;
    }
    const nowMs = clock.bootMs();
    this.#ordinarySinceMs ??= nowMs;
    const givenMs = asked ? record.value.leaseMs : 0;
    const leftMs = this.#ordinarySinceMs + givenMs + 2 * leaseMs - nowMs;
    if (leftMs > 0) this.#loop.triggerIn(leftMs);
    else await this.#remove(record);
  }

  async #remove({ revision }: Kept<LongerLeaseRecord>): Promise<void> {
    const { store, host, journal } = this.#parts;
    const key = longerKey(host);
    const result = await store.transact({
      compare: [{ kind: 'revision', key, modRevision: revision }],
      write: [{ kind: 'delete', key }],
    });
    if (result.done) journal.event('lease', host, 'no longer lease is running any more');
  }
}

export interface LongerLeaseParts {
  readonly host: string;
  readonly store: Store;
  readonly watch: ClusterWatch;
  readonly pulse: PulsePort;
  readonly clock: Clock;
  readonly journal: Journal;
  readonly log: Log;
  readonly timers: Timers;
  /** The incarnation that this host acts under; undefined while it has none. */
  incarnation(): number | undefined;
}
