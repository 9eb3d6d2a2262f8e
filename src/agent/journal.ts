import { eventKey, stepsKey } from '../control/keys.js';
import type { EventRecord, StepName, StepRecord, StepsRecord } from '../control/records.js';
import { messageOf } from '../errors.js';
import type { Timers } from '../store/timers.js';
import type { Store } from '../store/types.js';
import type { Clock } from './clock.js';
import type { Log } from './loop.js';
import { put } from './transactions.js';

/** Events waiting to be written; beyond this the oldest are dropped, for the log has them too. */
const maximumWaiting = 256;
/** etcd takes 128 operations in a transaction (--max-txn-ops). */
const mostAtOnce = 64;
/** Each write reaches every agent: what tells of a takeover must not take part in it. */
const eventDelayMs = 500;

/**
 * What happened and why, for `events`: logged at once, written to the store a little later and
 * together. Nothing ever waits for it.
 */
export class Journal {
  readonly #store: Store;
  readonly #clock: Clock;
  readonly #host: string;
  readonly #log: Log;
  readonly #waiting = new Map<string, object>();
  #serial = 0;
  #writing: Promise<void> | undefined;
  readonly #timers: Timers;
  #cancelDelay: (() => void) | undefined;

  constructor(parts: { store: Store; clock: Clock; timers: Timers; host: string; log: Log }) {
    this.#store = parts.store;
    this.#clock = parts.clock;
    this.#timers = parts.timers;
    this.#host = parts.host;
    this.#log = parts.log;
  }

  event(kind: string, subject: string, text: string): void {
    this.#log.info({ kind, subject }, `${subject}: ${text}`);
    const atUnixMs = this.#clock.unixMs();
    const record: EventRecord = { atUnixMs, host: this.#host, kind, subject, text };
    this.#queue(eventKey(atUnixMs, this.#host, this.#serial++), record);
    this.#cancelDelay ??= this.#timers.after(eventDelayMs, () => this.#flush());
  }

  steps(failover: string, who: string, record: StepsRecord): void {
    this.write(stepsKey(failover, who), record);
  }

  /** A plain put of a key that only this host writes, in the background. */
  write(key: string, value: object): void {
    this.#queue(key, value);
    this.#flush();
  }

  /** What still waits is written, as far as the store answers. */
  async stop(): Promise<void> {
    this.#flush();
    await this.#writing;
  }

  #queue(key: string, value: object): void {
    const [oldest] = this.#waiting.keys();
    if (oldest !== undefined && this.#waiting.size >= maximumWaiting) this.#waiting.delete(oldest);
    this.#waiting.set(key, value);
  }

  #flush(): void {
    this.#cancelDelay?.();
    this.#cancelDelay = undefined;
    if (this.#waiting.size > 0) this.#writing ??= this.#drain();
  }

  async #drain(): Promise<void> {
    while (this.#waiting.size > 0) {
      const batch = [...this.#waiting].slice(0, mostAtOnce);
      for (const [key] of batch) this.#waiting.delete(key);
      try {
        const write = batch.map(([key, value]) => put(key, value));
        await this.#store.transact({ compare: [], write });
      } catch (thrown) {
        const keys = batch.map(([key]) => key);
        this.#log.warn({ keys }, `not recorded: ${messageOf(thrown)}`);
      }
    }
    this.#writing = undefined;
  }
}

/** Times the steps of one takeover on this host's clock. */
export class StepTimer {
  readonly #clock: Clock;
  readonly #steps: StepRecord[] = [];

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  get steps(): readonly StepRecord[] {
    return this.#steps;
  }

  async time<T>(name: StepName, job: () => Promise<T>, detail?: (result: T) => string): Promise<T> {
    const startMs = this.#clock.bootMs();
    try {
      const result = await job();
      this.#add(name, startMs, true, detail?.(result));
      return result;
    } catch (thrown) {
      this.#add(name, startMs, false, messageOf(thrown));
      throw thrown;
    }
  }

  #add(name: StepName, startMs: number, ok: boolean, detail: string | undefined): void {
    const endMs = this.#clock.bootMs();
    this.#steps.push({ name, startMs, endMs, ok, ...(detail === undefined ? {} : { detail }) });
  }
}
