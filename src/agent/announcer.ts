import { messageOf } from '../errors.js';
import type { AnnounceSpec, NetworkAdapter } from '../network/types.js';
import { repeat, type Timers } from '../store/timers.js';
import type { Log, LoopParts } from './loop.js';

/**
 * After the first burst, more follow at these times: a switch port or a neighbour may have been
 * deaf for a moment (RFC 5227 section 3 repeats announcements for the same reason).
 */
const repeatsMs = [50, 200, 1_000];

/**
 * Tells the virtual LAN where a vMAC is now, from the new owner's own port, and again more often
 * than switches forget (metallb#2910: a forgotten entry made a black hole of 15 minutes).
 */
export class Announcer {
  readonly #network: NetworkAdapter;
  readonly #log: Log;
  readonly #enabled: boolean;
  readonly #timers: Timers;
  readonly #repetitions = new Map<string, (() => void)[]>();

  constructor(network: NetworkAdapter, parts: LoopParts, enabled: boolean) {
    this.#network = network;
    this.#log = parts.log;
    this.#timers = parts.timers;
    this.#enabled = enabled;
  }

  /** Resolves when the first burst is out. */
  async begin(spec: AnnounceSpec, refreshMs: number, signal: AbortSignal): Promise<void> {
    this.end(spec.name);
    if (!this.#enabled) return;
    await this.#network.announce(spec, signal);
    const again = () => {
      this.#network.announce(spec, signal).catch((thrown: unknown) => {
        if (!signal.aborted) this.#log.warn({ name: spec.name }, messageOf(thrown));
      });
    };
    this.#repetitions.set(spec.name, [
      ...repeatsMs.map((delayMs) => this.#timers.after(delayMs, again)),
      repeat(this.#timers, refreshMs, again),
    ]);
  }

  end(name: string): void {
    for (const cancel of this.#repetitions.get(name) ?? []) cancel();
    this.#repetitions.delete(name);
  }

  stop(): void {
    for (const name of [...this.#repetitions.keys()]) this.end(name);
  }
}
