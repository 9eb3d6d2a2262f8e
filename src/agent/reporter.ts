import { reportKey } from '../control/keys.js';
import type { ReportRecord } from '../control/records.js';
import type { Timers } from '../store/timers.js';
import type { Store } from '../store/types.js';
import { type Log, Loop } from './loop.js';
import { put } from './transactions.js';

/** Writes this host's report when it changes. */
export class Reporter {
  readonly #parts: ReporterParts;
  readonly #loop: Loop;
  #written = '';

  constructor(parts: ReporterParts) {
    this.#parts = parts;
    this.#loop = new Loop('report', parts, () => this.#write());
  }

  look(): void {
    this.#loop.trigger();
  }

  async stop(): Promise<void> {
    await this.#loop.stop();
  }

  async #write(): Promise<void> {
    const report = this.#parts.report();
    if (report === undefined) return;
    const text = JSON.stringify(report);
    if (text === this.#written) return;
    await this.#parts.store.transact({
      compare: [],
      write: [put(reportKey(this.#parts.host), report)],
    });
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
