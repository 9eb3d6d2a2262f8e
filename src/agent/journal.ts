import { eventKey, stepsKey } from '../control/keys.js';
import type { EventRecord, StepName, StepRecord, StepsRecord } from '../control/records.js';
import { messageOf } from '../errors.js';
import type { Store } from '../store/types.js';
import type { Clock } from './clock.js';
import type { Log } from './loop.js';
import { put } from './transactions.js';

/** Events waiting to be written; beyond this the oldest are dropped, for the log has them too. */
const maximumWaiting = 256;

/**
 * What happened and why, for `events`: logged at once, written to the store in the background.
 * Nothing ever waits for it.
 */
export class Journal {
  readonly #store: Store;
  readonly #clock: Clock;
  readonly #host: string;
  readonly #log: Log;
  readonly #waiting: { readonly key: string; readonly value: object }[] = [];
  #serial = 0;
  #writing = false;

  constructor(parts: { store: Store; clock: Clock; host: string; log: Log }) {
    this.#store = parts.store;
    this.#clock = parts.clock;
    this.#host = parts.host;
    this.#log = parts.log;
  }

  event(kind: string, subject: string, text: string): void {
    this.#log.info({ kind, subject }, `${subject}: ${text}`);
    const atUnixMs = this.#clock.unixMs();
    const record: EventRecord = { atUnixMs, host: this.#host, kind, subject, text };
    this.write(eventKey(atUnixMs, this.#host, this.#serial++), record);
  }

  steps(failover: string, who: string, record: StepsRecord): void {
    this.write(stepsKey(failover, who), record);
  }

  /** Queues a plain put of a key that only this host writes. */
  write(key: string, value: object): void {
    if (this.#waiting.length >= maximumWaiting) this.#waiting.shift();
    this.#waiting.push({ key, value });
    if (!this.#writing) void this.#drain();
  }

  async #drain(): Promise<void> {
    this.#writing = true;
    for (let next = this.#waiting.shift(); next !== undefined; next = this.#waiting.shift()) {
      try {
        await this.#store.transact({ compare: [], write: [put(next.key, next.value)] });
      } catch (thrown) {
        this.#log.warn({ key: next.key }, `not recorded: ${messageOf(thrown)}`);
      }
    }
    this.#writing = false;
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
