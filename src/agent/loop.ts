import { messageOf } from '../errors.js';
import type { Timers } from '../store/timers.js';

/** The part of a logger that the agent uses; pino's fits it. */
export interface Log {
  debug(fields: object, text: string): void;
  info(fields: object, text: string): void;
  warn(fields: object, text: string): void;
  error(fields: object, text: string): void;
}

/** What every loop stands on; the parts of whatever owns one fit it. */
export interface LoopParts {
  readonly log: Log;
  readonly timers: Timers;
}

const firstRetryMs = 50;
const longestRetryMs = 5_000;

/**
 * Runs one job again and again, never twice at once: `trigger` during a run means one more run
 * after it, however often it was called. A run that throws is repeated with growing pauses until
 * it succeeds or is triggered anew.
 */
export class Loop {
  readonly #name: string;
  readonly #job: (signal: AbortSignal) => Promise<void>;
  readonly #parts: LoopParts;
  readonly #controller = new AbortController();
  #wanted = false;
  #running: Promise<void> | undefined;
  #failures = 0;
  #cancelTimer: () => void = () => {};

  constructor(name: string, parts: LoopParts, job: (signal: AbortSignal) => Promise<void>) {
    this.#name = name;
    this.#parts = parts;
    this.#job = job;
  }

  trigger(): void {
    if (this.#controller.signal.aborted) return;
    this.#wanted = true;
    this.#cancelTimer();
    this.#running ??= this.#run();
  }

  /**
   * One more look without hurry: a job that has failed keeps to its pause. For news that may have
   * nothing to do with the failure; else each report of it would start the next try.
   */
  nudge(): void {
    if (this.#failures === 0) this.trigger();
  }

  /** One run that starts `delayMs` from now at the latest. */
  triggerIn(delayMs: number): void {
    if (this.#controller.signal.aborted) return;
    this.#cancelTimer();
    this.#cancelTimer = this.#parts.timers.after(delayMs, () => this.trigger());
  }

  async stop(): Promise<void> {
    this.#controller.abort();
    this.#cancelTimer();
    await this.#running;
  }

  async #run(): Promise<void> {
    while (this.#wanted && !this.#controller.signal.aborted) {
      this.#wanted = false;
      try {
        await this.#job(this.#controller.signal);
        this.#failures = 0;
      } catch (thrown) {
        if (this.#controller.signal.aborted) break;
        this.#failures++;
        const pauseMs = Math.min(longestRetryMs, firstRetryMs * 2 ** (this.#failures - 1));
        this.#parts.log.warn(
          { loop: this.#name, failures: this.#failures, pauseMs, error: thrown },
          `${this.#name}: ${messageOf(thrown)}`,
        );
        if (!this.#wanted) this.triggerIn(pauseMs);
      }
    }
    this.#running = undefined;
  }
}
