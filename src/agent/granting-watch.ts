import { incarnationId } from '../control/view.js';
import type { PulseHostStatus } from '../pulse/protocol.js';
import type { Timers } from '../store/timers.js';
import { type Log, Loop } from './loop.js';
import type { PulsePort } from './pulse-port.js';

/**
 * Whether this controller's pulse grants leases to everybody who is there, told in `status`.
 *
 * A controller that has just started takes part in a majority only once it has heard the hosts; a
 * second controller that fails before is taken over more slowly. Pulse says nothing of its own when
 * it first hears a host, so it is asked, once a heartbeat, until it has, or until their silence is
 * old enough to be voted on.
 */
export class GrantingWatch {
  readonly #parts: GrantingParts;
  readonly #loop: Loop;
  #sinceMs = 0;
  #granting = false;

  constructor(parts: GrantingParts) {
    this.#parts = parts;
    this.#loop = new Loop('granting', parts, () => this.#look());
  }

  get granting(): boolean {
    return this.#granting;
  }

  /** Pulse was told what to grant: by a new agent or to a new pulse. */
  begin(): void {
    this.#sinceMs = this.#parts.nowMs();
    this.#set(false);
    this.#loop.trigger();
  }

  /** Pulse went away: whatever it granted, the next one begins anew. */
  end(): void {
    this.#set(false);
  }

  async stop(): Promise<void> {
    await this.#loop.stop();
  }

  async #look(): Promise<void> {
    const { pulse, nowMs, timing, expected } = this.#parts;
    const { heartbeatMs, leaseMs } = timing();
    const reply = await pulse.request({ kind: 'status' });
    const hosts = reply.kind === 'status' ? reply.hosts : [];
    const patient = nowMs() - this.#sinceMs < silenceLeases * leaseMs;
    if (patient && !everybodyHeard(hosts, expected())) this.#loop.triggerIn(heartbeatMs);
    else this.#set(true);
  }

  #set(granting: boolean): void {
    if (this.#granting === granting) return;
    this.#granting = granting;
    this.#parts.onChange();
  }
}

/** Pulse reports the silence of hosts it never heard after this many leases. */
const silenceLeases = 5;

/** Whether pulse acknowledged each of these incarnations (`host/incarnation`) since it started. */
export function everybodyHeard(
  hosts: readonly PulseHostStatus[],
  expected: readonly string[],
): boolean {
  const heard = new Set(
    hosts.flatMap(({ host, incarnation, lastAckAgoMs }) =>
      lastAckAgoMs === null ? [] : [incarnationId(host, incarnation)],
    ),
  );
  return expected.every((id) => heard.has(id));
}

export interface GrantingParts {
  readonly pulse: PulsePort;
  readonly log: Log;
  readonly timers: Timers;
  nowMs(): number;
  timing(): { readonly heartbeatMs: number; readonly leaseMs: number };
  /** Incarnations that are enrolled and not shut out. */
  expected(): readonly string[];
  onChange(): void;
}
