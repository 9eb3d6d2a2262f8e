import type { MemoryBackend } from './memory-backend.js';
import type { WatchListener } from './types.js';

/** One watch of one handle. While cut off it hears nothing; afterwards it gets a new snapshot. */
export class MemoryWatch {
  readonly #backend: MemoryBackend;
  readonly #identity: string;
  readonly #prefix: string;
  readonly #listener: WatchListener;
  readonly #signal: AbortSignal;
  /** In order; deliveries may come in any, each hands over the oldest. */
  #queue: (() => void)[] = [];
  #disconnect: () => void = () => {};

  constructor(
    backend: MemoryBackend,
    identity: string,
    prefix: string,
    listener: WatchListener,
    signal: AbortSignal,
  ) {
    this.#backend = backend;
    this.#identity = identity;
    this.#prefix = prefix;
    this.#listener = listener;
    this.#signal = signal;
    signal.addEventListener('abort', () => this.#disconnect());
  }

  connect(): void {
    if (this.#signal.aborted) return;
    if (!this.#backend.reaches(this.#identity)) {
      this.#waitForHeal();
      return;
    }
    const snapshot = this.#backend.list(this.#prefix);
    this.#queue = [];
    this.#enqueue(() => this.#listener.snapshot(snapshot));
    this.#disconnect = this.#backend.watch({
      prefix: this.#prefix,
      changed: (changes, revision) =>
        this.#enqueue(() => this.#listener.changes(changes, revision)),
    });
  }

  #enqueue(message: () => void): void {
    this.#queue.push(message);
    this.#backend.deliver(() => this.#handOver(), this.#identity);
  }

  #handOver(): void {
    if (this.#signal.aborted) return;
    if (this.#backend.reaches(this.#identity)) this.#queue.shift()?.();
    else this.#waitForHeal();
  }

  #waitForHeal(): void {
    this.#disconnect();
    this.#queue = [];
    this.#disconnect = this.#backend.onHeal(this.#identity, () => this.connect());
  }
}
