import { setToRefuseBelow } from '../control/controllers-change.js';
import { electorateOf } from '../control/electorate.js';
import { controllerSetsKey, controllerStartKey, longerKey } from '../control/keys.js';
import type { GrantedSets } from '../control/lease/grants.js';
import { longestLeaseMs, type SetsRecord, type StartRecord } from '../control/records.js';
import { configOf, incarnationId, type Kept, type View, ViewKeeper } from '../control/view.js';
import type { LongerLease } from '../pulse/protocol.js';
import type { Store } from '../store/types.js';
import type { ClusterWatch } from './cluster-watch.js';
import { peersOf } from './enrolment.js';
import type { Journal } from './journal.js';
import { order, type PulseHello, type PulsePort } from './pulse-port.js';
import { put, setsTransaction } from './transactions.js';

export interface Incarnation {
  readonly host: string;
  readonly incarnation: number;
}

/**
 * Puts this controller's pulse in charge (rule 6 of the lease protocol): its start nonce is written
 * first; votes and retired marks are read after that, linearizably; only then is pulse told what it
 * may not acknowledge, and whom it may.
 */
export class TakingControl {
  readonly #parts: TakingControlParts;
  #told = '';

  constructor(parts: TakingControlParts) {
    this.#parts = parts;
  }

  /** Another pulse, or the same one to another agent: all is told again. */
  begin(): void {
    this.#told = '';
  }

  /** @returns what pulse was told never to acknowledge; undefined when it knows all already */
  async take(
    hello: PulseHello,
    stopped: readonly Incarnation[],
  ): Promise<readonly Incarnation[] | undefined> {
    const { watch, host, pulse, pulsePort } = this.#parts;
    const config = configOf(watch.view);
    if (config === undefined) return undefined;
    const { leaseMs, clockMarginPercent } = config.timing;
    const names = config.hosts.map(({ name }) => name);
    const hosts = peersOf(config, names, pulsePort);
    const watched = watchedIncarnations(watch.view);
    const seen = [...watch.view.longer].map(([, { revision }]) => revision);
    const timing = { leaseMs, clockMarginPercent };
    const sets = this.#setsToGrant();
    const wish = JSON.stringify([hello.nonce, timing, hosts, watched, seen, sets]);
    if (wish === this.#told) return undefined;
    await this.#recordStart({ nonce: hello.nonce });
    // After the configuration that names the newest set: whoever a commit retired before is in there.
    const [read, longer, granted] = await Promise.all([
      this.#readStopped(),
      this.#readLonger(),
      this.#readSets(),
    ]);
    const lowest = Math.max(sets.lowest, granted?.value.refusesBelow ?? 0);
    const newest = Math.max(sets.newest, granted?.value.accepts ?? 0);
    const all = newestOfEachHost([...read, ...stopped]);
    const allowed = longer.length === 0 ? {} : { longer };
    await order(pulse, {
      kind: 'control',
      controller: host,
      hosts,
      stopped: all,
      watched,
      ...allowed,
      ...(newest === 0 ? {} : { sets: { lowest, newest } }),
      ...timing,
    });
    // Only what pulse obeys already is told to others.
    await this.#recordSets(hello, { accepts: newest, refusesBelow: lowest }, granted);
    this.#told = wish;
    return all;
  }

  /** The set of the configuration that the watch shows, and what its change asks to refuse. */
  #setsToGrant(): GrantedSets {
    const { watch, host } = this.#parts;
    const { view } = watch;
    const newest = view.config === undefined ? 0 : electorateOf(view.config.value).set;
    return { newest, lowest: setToRefuseBelow(view, host) };
  }

  /** What this controller refused stays refused, over restarts of all of it. */
  async #readSets(): Promise<Kept<SetsRecord> | undefined> {
    const key = controllerSetsKey(this.#parts.host);
    const entry = await this.#parts.store.get(key);
    const keeper = new ViewKeeper();
    keeper.reset(entry === undefined ? [] : [entry]);
    return keeper.view.sets.get(this.#parts.host);
  }

  async #recordSets(
    hello: PulseHello,
    record: SetsRecord,
    before: Kept<SetsRecord> | undefined,
  ): Promise<void> {
    const { accepts, refusesBelow } = record;
    if (
      accepts === (before?.value.accepts ?? 0) &&
      refusesBelow === (before?.value.refusesBelow ?? 0)
    ) {
      return;
    }
    const { store, host, journal, watch } = this.#parts;
    const transaction = setsTransaction(host, hello.nonce, before?.revision, record);
    const result = await store.transact(transaction);
    if (!result.done) throw new Error(`what ${host} grants was changed by another process`);
    watch.learn(transaction.write, result.revision);
    const below = refusesBelow === 0 ? '' : `, none below ${refusesBelow}`;
    journal.event('controllers', host, `${host} grants leases up to set ${accepts}${below}`);
  }

  async #recordStart(record: StartRecord): Promise<void> {
    const { store, host, journal } = this.#parts;
    const key = controllerStartKey(host);
    const current = await store.get(key);
    if (current?.value === JSON.stringify(record)) return;
    const result = await store.transact({
      compare: [
        current === undefined
          ? { kind: 'absent', key }
          : { kind: 'revision', key, modRevision: current.modRevision },
      ],
      write: [put(key, record)],
    });
    if (!result.done && result.current[0]?.value !== JSON.stringify(record)) {
      throw new Error(`start nonce of ${host} was changed by another process`);
    }
    journal.event('controller', host, 'start recorded; votes read before anything is granted');
  }

  /**
   * Longer leases that may be granted; this controller may have granted them before it restarted or
   * its machine was booted, so they are read before anything is voted on.
   */
  async #readLonger(): Promise<readonly LongerLease[]> {
    const { entries } = await this.#parts.store.list(longerKey(''));
    const keeper = new ViewKeeper();
    keeper.reset(entries);
    return [...keeper.view.longer].flatMap(([host, { value }]) => {
      const { incarnation, leaseMs } = value;
      // Pulse takes nothing else, and a record that nobody of us wrote must not stop a controller.
      if (incarnation < 1 || leaseMs < 1 || leaseMs > longestLeaseMs) return [];
      return [{ host, incarnation, leaseMs }];
    });
  }

  /** My standing votes and every retired incarnation. */
  async #readStopped(): Promise<readonly Incarnation[]> {
    const { store, host: me } = this.#parts;
    const [votes, retired] = await Promise.all([store.list('votes/'), store.list('retired/')]);
    // What cannot be read counts as absent here, as it does for whoever commits.
    const keeper = new ViewKeeper();
    keeper.reset([...votes.entries, ...retired.entries]);
    const { view } = keeper;
    const voted = [...view.votes].filter(([, by]) => by.get(me)?.value.state === 'expired');
    return [...voted.map(([id]) => id), ...view.retired].map(incarnationOf);
  }
}

/** Of one host: an incarnation older than any that is refused by name is refused for that. */
const stoppedOfEachHost = 4;

/**
 * Votes and retired marks are never deleted, and a cluster collects them for years; what pulse is told
 * must not grow with them.
 */
export function newestOfEachHost(stopped: readonly Incarnation[]): readonly Incarnation[] {
  const byHost = new Map<string, Set<number>>();
  for (const { host, incarnation } of stopped) {
    byHost.set(host, (byHost.get(host) ?? new Set()).add(incarnation));
  }
  return [...byHost].flatMap(([host, incarnations]) =>
    [...incarnations]
      .sort((a, b) => b - a)
      .slice(0, stoppedOfEachHost)
      .map((incarnation) => ({ host, incarnation })),
  );
}

/** Incarnations that the store names: silence of one of them is worth a vote, even if never heard. */
export function watchedIncarnations(view: View): readonly Incarnation[] {
  const ids = new Set<string>();
  for (const [host, { value }] of view.hosts) ids.add(incarnationId(host, value.incarnation));
  for (const { value } of view.assignments.values()) {
    if (value.host !== null) ids.add(incarnationId(value.host, value.incarnation));
  }
  return [...ids].sort().map(incarnationOf);
}

export const idOf = ({ host, incarnation }: Incarnation): string =>
  incarnationId(host, incarnation);

export function incarnationOf(id: string): Incarnation {
  const [host = '', incarnation] = id.split('/');
  return { host, incarnation: Number(incarnation) };
}

export interface TakingControlParts {
  readonly host: string;
  readonly pulsePort: number;
  readonly store: Store;
  readonly watch: ClusterWatch;
  readonly pulse: PulsePort;
  readonly journal: Journal;
}
