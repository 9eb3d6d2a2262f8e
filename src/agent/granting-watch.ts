import type { PulseHostStatus } from '../pulse/protocol.js';
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
    this.#loop = new Loop('granting', parts.log, () => this.#look());
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
    const { pulse, nowMs, timing } = this.#parts;
    const { heartbeatMs, leaseMs } = timing();
    const reply = await pulse.request({ kind: 'status' });
    const hosts = reply.kind === 'status' ? reply.hosts : [];
    const patient = nowMs() - this.#sinceMs < silenceLeases * leaseMs;
    if (patient && !everybodyHeard(hosts)) this.#loop.triggerIn(heartbeatMs);
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

export function everybodyHeard(hosts: readonly PulseHostStatus[]): boolean {
  return hosts.length > 0 && hosts.every(({ lastAckAgoMs }) => lastAckAgoMs !== null);
}

export interface GrantingParts {
  readonly pulse: PulsePort;
  readonly log: Log;
  nowMs(): number;
  timing(): { readonly heartbeatMs: number; readonly leaseMs: number };
  onChange(): void;
}
