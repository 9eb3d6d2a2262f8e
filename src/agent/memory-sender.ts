import type { Duplex } from 'node:stream';
import { Survey } from '../control/placement.js';
import { configOf, roleId } from '../control/view.js';
import type { Memory } from '../dispatch/memory.js';
import type { DispatchAdapter } from '../dispatch/types.js';
import { pause, repeat, type Timers } from '../store/timers.js';
import type { ClusterWatch } from './cluster-watch.js';
import { type Log, Loop } from './loop.js';
import { Standby } from './standby.js';

/** As often as memory changes in a way that counts. */
const tickMs = 250;
/** Whether a flush was heard. */
const lookAgainMs = 5;
/** Hosts that a service's dispatcher may go to next, in placement's order. */
const standbysOfService = 2;
/** To choose takes a look at all assignments. */
const chosenForMs = 1_000;
/** Of all services here: each costs 2 MB and a connection. */
export const mostStandbys = 8;

/**
 * Tells the hosts that would dispatch this host's services next what only this one knows: which slots
 * changed hands, and whose each recorded flow is. Nothing waits for it; what was not told is lost with
 * this host.
 */
export class MemorySender {
  readonly #parts: MemorySenderParts;
  readonly #loop: Loop;
  readonly #end: () => void;
  readonly #standbys = new Map<string, Standby>();
  #toldMs = Number.NEGATIVE_INFINITY;
  #wanted: ReadonlyMap<string, Address> = new Map();
  #wantedMs = Number.NEGATIVE_INFINITY;
  #hurried = false;
  /** When the last round that is over began. */
  #doneMs = Number.NEGATIVE_INFINITY;

  constructor(parts: MemorySenderParts) {
    this.#parts = parts;
    this.#loop = new Loop('memory of flows', parts, () => this.#tell());
    this.#end = repeat(parts.timers, tickMs, () => this.#loop.nudge());
  }

  /** Tells all there is now, and waits until it was heard; not for longer than the signal allows. */
  async flush(signal: AbortSignal): Promise<void> {
    if (this.#parts.dispatch.memoryEveryMs() === undefined) return;
    const startMs = this.#parts.timers.nowMs();
    this.#hurried = true;
    this.#loop.trigger();
    const heard = () => [...this.#standbys.values()].every((one) => (one.asOfMs ?? 0) >= startMs);
    while (!signal.aborted && (this.#doneMs < startMs || !heard())) {
      await pause(this.#parts.timers, lookAgainMs, signal);
    }
  }

  /** How old what each standby has is; null: nothing yet. */
  ages(): readonly { readonly host: string; readonly ageMs: number | null }[] {
    const nowMs = this.#parts.timers.nowMs();
    return [...this.#standbys].map(([host, { asOfMs }]) => ({
      host,
      ageMs: asOfMs === undefined ? null : Math.max(0, nowMs - asOfMs),
    }));
  }

  async stop(): Promise<void> {
    this.#end();
    await this.#loop.stop();
    this.#close(new Set());
  }

  async #tell(): Promise<void> {
    const { dispatch, timers } = this.#parts;
    const everyMs = dispatch.memoryEveryMs();
    const hurried = this.#hurried;
    this.#hurried = false;
    if (everyMs === undefined) {
      this.#close(new Set());
      return;
    }
    const nowMs = timers.nowMs();
    if (!hurried && nowMs - this.#toldMs < everyMs - tickMs / 2) return;
    this.#toldMs = nowMs;
    const memory = await dispatch.memory();
    if (hurried) this.#wantedMs = Number.NEGATIVE_INFINITY;
    if (memory !== undefined) await this.#tellAll(memory, nowMs);
    this.#doneMs = nowMs;
  }

  async #tellAll(memory: Memory, asOfMs: number): Promise<void> {
    const { watch, host } = this.#parts;
    const epochs = new Map<string, number>();
    for (const { service } of memory.services) {
      const held = watch.view.assignments.get(roleId({ kind: 'service', name: service }))?.value;
      if (held?.host === host) epochs.set(service, held.epoch);
    }
    if (asOfMs - this.#wantedMs >= chosenForMs) {
      this.#wanted = this.#hosts([...epochs.keys()]);
      this.#wantedMs = asOfMs;
    }
    this.#close(new Set(this.#wanted.keys()));
    for (const [name, address] of this.#wanted) {
      const standby = this.#standbys.get(name) ?? new Standby(name, this.#parts);
      this.#standbys.set(name, standby);
      await standby.tell(memory, epochs, asOfMs, address);
    }
  }

  /** Where these services would go, by name. */
  #hosts(services: readonly string[]): ReadonlyMap<string, Address> {
    const { watch, host: here } = this.#parts;
    const hosts = new Map<string, Address>();
    const config = configOf(watch.view);
    if (config === undefined) return hosts;
    const survey = new Survey(watch.view, config, { lapsed: new Set() });
    const add = (name: string) => {
      const port = watch.view.features.get(name)?.value.flowsPort;
      const address = config.hosts.find((one) => one.name === name)?.address ?? '';
      if (port === undefined || address === '' || hosts.size >= mostStandbys) return;
      hosts.set(name, { address, port });
    };
    for (const name of services) {
      const role = { kind: 'service', name } as const;
      const to = watch.view.assignments.get(roleId(role))?.value.to ?? null;
      if (to !== null && to !== here) add(to);
      const avoid = new Set([here]);
      for (let count = 0; count < standbysOfService; count += 1) {
        const next = survey.choose(role, avoid);
        if (next.kind !== 'place') break;
        avoid.add(next.host);
        add(next.host);
      }
    }
    return hosts;
  }

  #close(kept: ReadonlySet<string>): void {
    for (const [name, standby] of this.#standbys) {
      if (kept.has(name)) continue;
      standby.close();
      this.#standbys.delete(name);
    }
  }
}

export interface Address {
  readonly address: string;
  readonly port: number;
}

export interface MemorySenderParts {
  readonly host: string;
  readonly watch: Pick<ClusterWatch, 'view'>;
  readonly dispatch: Pick<DispatchAdapter, 'memory' | 'memoryEveryMs'>;
  readonly timers: Timers;
  readonly log: Log;
  /** Of this host's boot clock. */
  bootMs(): number;
  dial(address: string, port: number): Duplex;
}
