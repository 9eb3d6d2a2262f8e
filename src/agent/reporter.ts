import { reportKey } from '../control/keys.js';
import type { ReportRecord } from '../control/records.js';
import { SoleWriter } from '../sole-writer.js';
import type { Timers } from '../store/timers.js';
import type { Store } from '../store/types.js';
import { type Log, Loop } from './loop.js';
import { put } from './transactions.js';

/**
 * A takeover that goes well is over by then. Every report reaches every agent: what tells of a
 * takeover must not take part in it.
 */
const startingDelayMs = 250;

/** Writes this host's report when it changes. */
export class Reporter {
  readonly #parts: ReporterParts;
  readonly #loop: Loop;
  readonly #writer: SoleWriter;
  #written = '';
  #cancelDelay: (() => void) | undefined;

  constructor(parts: ReporterParts) {
    this.#parts = parts;
    this.#writer = new SoleWriter(parts.store);
    this.#loop = new Loop('report', parts, () => this.#write());
  }

  look(): void {
    if (this.#isStarting()) {
      this.#cancelDelay ??= this.#parts.timers.after(startingDelayMs, () => this.now());
      return;
    }
    this.now();
  }

  /** Something that nobody may wait for: where flows go, say. */
  now(): void {
    this.#cancelDelay?.();
    this.#cancelDelay = undefined;
    this.#loop.trigger();
  }

  async stop(): Promise<void> {
    this.#cancelDelay?.();
    await this.#loop.stop();
  }

  #isStarting(): boolean {
    const report = this.#parts.report();
    const roles = [...(report?.personalities ?? []), ...(report?.services ?? [])];
    return roles.some(({ phase }) => phase === 'starting');
  }

  async #write(): Promise<void> {
    const report = this.#parts.report();
    if (report === undefined) return;
    const text = JSON.stringify(report);
    if (text === this.#written) return;
    await this.#writer.write(put(reportKey(this.#parts.host), report));
    this.#written = text;
  }
}

export interface ReporterParts {
  readonly host: string;
  readonly store: Store;
  readonly log: Log;
  readonly timers: Timers;
  report(): ReportRecord | undefined;
}
