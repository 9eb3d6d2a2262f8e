import { messageOf } from '../errors.js';
import type { Timers } from '../store/timers.js';
import { repeat } from '../store/timers.js';
import type { Log } from './loop.js';
import type { PulseHello, PulsePort } from './pulse-port.js';

/** Pulse misses an agent after five of these (src/pulse/agent-presence.ts). */
const speakEveryMs = 1_000;

/**
 * Tells pulse, once a second and when it changes, which roles this agent got to work. Pulse remembers it
 * over a restart of the agent: what stands in the kernel does not show whether it was ever complete.
 */
export class Carrying {
  readonly #parts: CarryingParts;
  /** What pulse knew when this agent came; null: nothing. */
  #knownBefore: ReadonlySet<string> | null | undefined;
  /** This pulse is of a version that does not ask for it. */
  #unasked = false;
  #told = '';
  #end: () => void = () => {};

  constructor(parts: CarryingParts) {
    this.#parts = parts;
  }

  start(): void {
    this.#parts.pulse.onConnect((hello) => this.#connected(hello));
    this.#end = repeat(this.#parts.timers, speakEveryMs, () => this.#tell());
  }

  stop(): void {
    this.#end();
  }

  /** Something of it may have changed. */
  look(): void {
    if (this.#text() !== this.#told) this.#tell();
  }

  #connected({ carried }: PulseHello): void {
    this.#unasked = false;
    if (this.#knownBefore === undefined) {
      this.#knownBefore = carried === undefined ? null : new Set(carried);
    }
    this.#tell();
  }

  #tell(): void {
    if (this.#knownBefore === undefined || this.#unasked) return;
    this.#told = this.#text();
    const { incarnation } = this.#parts;
    const roles = this.#roles();
    const known = roles === undefined ? {} : { roles };
    const request = { kind: 'carries', incarnation: incarnation() ?? 0, ...known } as const;
    this.#parts.pulse.request(request).then(
      (reply) => {
        if (reply.kind === 'error') this.#refused(reply.message);
      },
      // Pulse is away; the next one is told when it is there.
      (thrown: unknown) => this.#parts.log.debug({ cause: messageOf(thrown) }, 'pulse not told'),
    );
  }

  #refused(message: string): void {
    this.#unasked = true;
    this.#parts.log.info({ message }, 'pulse does not ask what this host carries');
  }

  #text(): string {
    return JSON.stringify([this.#parts.incarnation(), this.#roles()]);
  }

  /** Of what was found here, only that which the agent before had got to work. */
  #roles(): readonly string[] | undefined {
    const known = this.#knownBefore;
    const carried = this.#parts.carried();
    if (carried === undefined || this.#parts.incarnation() === undefined) return undefined;
    return carried
      .filter(({ id, found }) => !found || (known?.has(id) ?? true))
      .map(({ id }) => id)
      .sort();
  }
}

export interface Carried {
  /** `personality/web1@7`: a role and its epoch. */
  readonly id: string;
  /** It stood here when this agent came, which has not yet looked after it. */
  readonly found: boolean;
}

export interface CarryingParts {
  readonly pulse: PulsePort;
  readonly timers: Timers;
  readonly log: Log;
  incarnation(): number | undefined;
  /** undefined until it is known what stands here. */
  carried(): readonly Carried[] | undefined;
}
