import type { ClusterConfig } from '../config/types.js';
import { electorateToHold } from '../control/controllers-change.js';
import { electorsOf, lowestSet } from '../control/electorate.js';
import { hostKey } from '../control/keys.js';
import { lookup } from '../control/lookup.js';
import type { HostRecord } from '../control/records.js';
import { currentReport } from '../control/reports.js';
import { configOf } from '../control/view.js';
import { isShutOut } from '../control/votes.js';
import { UnderstudyError } from '../errors.js';
import type { PulsePeer } from '../pulse/protocol.js';
import type { Timers } from '../store/timers.js';
import type { Store } from '../store/types.js';
import type { ClusterWatch } from './cluster-watch.js';
import { isShutOutForGood } from './finality.js';
import type { Journal } from './journal.js';
import { type Log, Loop } from './loop.js';
import { order, type PulsePort } from './pulse-port.js';
import { put } from './transactions.js';

/** The kernel side of the lease: one deadline map an incarnation. src/fencing/guard.ts. */
export interface LeaseMaps {
  /** Makes and pins the map; a new one lets nothing pass. Returns its path. Idempotent. */
  prepare(incarnation: number): string;
  forget(incarnation: number): void;
}

/**
 * Gives this host an incarnation and keeps pulse sending heartbeats for it.
 *
 * One boot is one incarnation. An incarnation that was voted out is over for good: everything it
 * held is taken down first, then the host enrols under the next number, with a deadline map of its
 * own, as a spare (rules 3 and 10 of the lease protocol: docs/architecture.md).
 */
export class Enrolment {
  readonly #parts: EnrolmentParts;
  readonly #loop: Loop;
  #incarnation: number | undefined;
  /** Of this incarnation: as its record says, whatever the cluster file says by now. */
  #enforced = true;
  #leastSet = 0;
  /** What pulse was last told; told again only when it changes or pulse restarts. */
  #told = '';
  /** What pulse holds, and under which set of controllers it counts that lease. */
  #counting: { readonly incarnation: number; readonly set?: number } | undefined;
  /** The newest that it said it holds the lease for, and under which set, perhaps before this agent knew. */
  #held: { readonly incarnation: number; readonly set: number } | undefined;
  /** Pulse says that a majority refuses this incarnation: the store is asked whether that is final. */
  #refused: number | undefined;

  constructor(parts: EnrolmentParts) {
    this.#parts = parts;
    this.#loop = new Loop('enrolment', parts, () => this.#enrol());
  }

  /** The incarnation that this host acts under; undefined while it has none. */
  get incarnation(): number | undefined {
    return this.#incarnation;
  }

  /** The set of controllers under which the lease is held; 0: the first, or none is. */
  get heldSet(): number {
    return this.#held?.incarnation === this.#incarnation ? (this.#held?.set ?? 0) : 0;
  }

  /** Whether this incarnation has held its lease, as pulse says. */
  get leased(): boolean {
    return this.#held !== undefined && this.#held.incarnation === this.#incarnation;
  }

  start(): void {
    const { pulse, watch } = this.#parts;
    pulse.onConnect(({ enrolled }) => {
      this.#told = '';
      this.#counting = enrolled ?? undefined;
      this.#loop.trigger();
    });
    pulse.onEvent((event) => {
      if (event.kind === 'lease-held') this.#holds(event.incarnation, event.set ?? 0);
      if (event.kind !== 'refused') return;
      this.#refused = event.incarnation;
      this.#loop.trigger();
    });
    watch.onChange(() => this.#loop.trigger(), ['config', 'hosts', 'vote', 'retired', 'sets']);
  }

  async stop(): Promise<void> {
    await this.#loop.stop();
  }

  #holds(incarnation: number, set: number): void {
    const [before, leasedBefore] = [this.heldSet, this.leased];
    this.#held = { incarnation, set };
    if (this.heldSet !== before || this.leased !== leasedBefore) this.#parts.onHeld();
  }

  async #enrol(): Promise<void> {
    const { watch, host } = this.#parts;
    const config = configOf(watch.view);
    if (!watch.known || config === undefined) return;
    if (!config.hosts.some(({ name }) => name === host)) return;
    if (this.#incarnation === undefined) await this.#resume(config);
    else if (await this.#isOver(this.#incarnation)) await this.#renew(config, this.#incarnation);
    if (this.#incarnation !== undefined) await this.#tellPulse(config, this.#incarnation);
  }

  /**
   * Refusals alone prove nothing: each is remembered by itself, and votes of a minority may be
   * withdrawn. A host that cannot ask the store keeps what it has; if it is over, its lease has ended
   * and keeps it silent.
   */
  async #isOver(incarnation: number): Promise<boolean> {
    const { watch, store, host } = this.#parts;
    const refused = this.#refused === incarnation;
    if (!refused && !isShutOut(watch.view, host, incarnation)) return false;
    this.#refused = undefined;
    return await isShutOutForGood(store, host, incarnation);
  }

  /** An agent that restarts within one boot goes on under the same incarnation. */
  async #resume(config: ClusterConfig): Promise<void> {
    const { store, host, bootToken } = this.#parts;
    const entry = await store.get(hostKey(host));
    const record = entry === undefined ? undefined : (JSON.parse(entry.value) as HostRecord);
    if (
      record !== undefined &&
      record.bootToken === bootToken &&
      !(await isShutOutForGood(store, host, record.incarnation))
    ) {
      this.#recall(record.incarnation);
      this.#begin(record, 'agent restarted within the same boot');
      return;
    }
    await this.#enrolAfter(config, record?.incarnation ?? 0, entry?.modRevision);
  }

  /**
   * What the agent before this one reported stays so until pulse says more. Else the first report would
   * take back that the lease was held, and under which controllers, which others rest on.
   */
  #recall(incarnation: number): void {
    const { watch, host } = this.#parts;
    const report = currentReport(watch.view, host, incarnation);
    if (report?.leased !== true || this.#held?.incarnation === incarnation) return;
    this.#held = { incarnation, set: report.set ?? 0 };
  }

  /** The old incarnation is shut out: let go of all of it, then come back as a spare. */
  async #renew(config: ClusterConfig, old: number): Promise<void> {
    const { store, host, pulse, journal } = this.#parts;
    this.#incarnation = undefined;
    journal.event('shut-out', host, `incarnation ${old} was voted out; letting go of all it held`);
    await order(pulse, { kind: 'retire' });
    this.#counting = undefined;
    const entry = await store.get(hostKey(host));
    const record = entry === undefined ? undefined : (JSON.parse(entry.value) as HostRecord);
    await this.#enrolAfter(config, Math.max(record?.incarnation ?? 0, old), entry?.modRevision);
  }

  /**
   * Nothing of an older incarnation may stand when the new one starts (rule 3), and nobody may go on
   * renewing its lease: pulse may have been at work for it long before this agent was started, and
   * would keep its roles from being failed over.
   */
  async #enrolAfter(
    config: ClusterConfig,
    old: number,
    revision: number | undefined,
  ): Promise<void> {
    const { store, host, bootToken, pulse, maps, watch } = this.#parts;
    await this.#parts.dropEverything();
    await order(pulse, { kind: 'retire' });
    this.#counting = undefined;
    if (old > 0) maps.forget(old);
    const incarnation = old + 1;
    // A cluster that this host belonged to before may have left one under this number: its NICs would
    // pass frames again with our lease, or it would have no limit.
    maps.forget(incarnation);
    const key = hostKey(host);
    const { enforce: enforced } = config.fencing;
    const known = watch.view.config?.value;
    const set = known === undefined ? 0 : lowestSet(known);
    const record: HostRecord = { incarnation, bootToken, enforced, ...(set === 0 ? {} : { set }) };
    const result = await store.transact({
      compare: [
        revision === undefined
          ? { kind: 'absent', key }
          : { kind: 'revision', key, modRevision: revision },
      ],
      write: [put(key, record)],
    });
    const applied = result.done || result.current[0]?.value === JSON.stringify(record);
    if (!applied) {
      throw new UnderstudyError({
        code: 'US_ENROL_RACE',
        action: 'cannot enrol host',
        object: `${host} as incarnation ${incarnation}`,
        cause: 'its record changed meanwhile; another agent may run under this name',
        remedy: 'make sure that only one machine calls itself by this name; it is tried again',
      });
    }
    this.#begin(record, enforced ? 'enrolled' : 'enrolled; its lease is not enforced');
  }

  #begin({ incarnation, enforced, set = 0 }: HostRecord, why: string): void {
    this.#parts.journal.event('enrolled', this.#parts.host, `incarnation ${incarnation}: ${why}`);
    this.#incarnation = incarnation;
    this.#enforced = enforced;
    this.#leastSet = set;
    this.#told = '';
    this.#parts.onIncarnation(incarnation);
  }

  async #tellPulse(config: ClusterConfig, incarnation: number): Promise<void> {
    const { host, pulse, maps, pulsePort, watch } = this.#parts;
    const known = this.#counting?.incarnation === incarnation;
    const current = known ? (this.#counting?.set ?? 0) : undefined;
    const electorate = electorateToHold(watch.view, host, incarnation, current, this.#leastSet);
    if (electorate === undefined) return;
    const request = {
      kind: 'enrol',
      host,
      incarnation,
      controllers: peersOf(config, electorsOf(electorate), pulsePort),
      ...(electorate.set === 0 ? {} : { electorate }),
      heartbeatMs: config.timing.heartbeatMs,
      leaseMs: config.timing.leaseMs,
      clockMarginPercent: config.timing.clockMarginPercent,
      enforce: this.#enforced,
      guardMapPath: maps.prepare(incarnation),
    } as const;
    const text = JSON.stringify(request);
    if (text === this.#told) return;
    await order(pulse, request);
    this.#told = text;
    this.#counting = { incarnation, set: electorate.set };
  }
}

export interface EnrolmentParts {
  readonly host: string;
  readonly bootToken: string;
  readonly pulsePort: number;
  readonly store: Store;
  readonly watch: ClusterWatch;
  readonly pulse: PulsePort;
  readonly maps: LeaseMaps;
  readonly journal: Journal;
  readonly log: Log;
  readonly timers: Timers;
  /** Aborts and removes everything of ours on this host; returns when nothing is left. */
  dropEverything(): Promise<void>;
  onIncarnation(incarnation: number): void;
  /** The lease is held for the first time, or under another set of controllers. */
  onHeld(): void;
}

/** Addresses of hosts' pulses. */
export function peersOf(
  config: ClusterConfig,
  names: readonly string[],
  port: number,
): readonly PulsePeer[] {
  const { hosts } = lookup(config);
  return names.flatMap((name) => {
    const host = hosts.get(name);
    return host === undefined ? [] : [{ name, address: host.address, port }];
  });
}
