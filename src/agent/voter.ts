import { controllerStartKey, voteKey } from '../control/keys.js';
import type { StartRecord, VoteRecord } from '../control/records.js';
import { configOf, incarnationId, type View } from '../control/view.js';
import type { PulseEvent } from '../pulse/protocol.js';
import type { Timers } from '../store/timers.js';
import type { Store } from '../store/types.js';
import type { Clock } from './clock.js';
import type { ClusterWatch } from './cluster-watch.js';
import { peersOf } from './enrolment.js';
import type { Journal } from './journal.js';
import { type Log, Loop } from './loop.js';
import { order, type PulseHello, type PulsePort } from './pulse-port.js';
import { put } from './transactions.js';

type Lapsed = Extract<PulseEvent, { kind: 'lapsed' }>;

/**
 * A controller's vote. Pulse grants leases and says when one has lapsed; this writes the vote.
 *
 * The order that keeps it safe (rules 5, 6, 8 of the lease protocol): the start nonce of the pulse
 * in charge is written first; votes and retired marks are read after that; only then does pulse
 * acknowledge anything. Before a vote, pulse confirms that it stopped acknowledging; the vote's
 * transaction compares the start nonce, so that a late write of an earlier start cannot land.
 */
export class Voter {
  readonly #parts: VoterParts;
  readonly #loop: Loop;
  readonly #pending = new Map<string, Lapsed>();
  /** `host/incarnation` whose promise this controller saw run out. */
  readonly #lapsed = new Set<string>();
  #hello: PulseHello | undefined;
  #controlling = '';

  constructor(parts: VoterParts) {
    this.#parts = parts;
    this.#loop = new Loop('voter', parts, () => this.#work());
  }

  get lapsed(): ReadonlySet<string> {
    return this.#lapsed;
  }

  start(): void {
    this.#parts.pulse.onConnect((hello) => {
      this.#hello = hello;
      this.#controlling = '';
      this.#loop.trigger();
    });
    this.#parts.pulse.onEvent((event) => {
      if (event.kind === 'lapsed') {
        const id = incarnationId(event.host, event.incarnation);
        this.#lapsed.add(id);
        this.#pending.set(id, event);
        this.#loop.trigger();
        this.#parts.onLapse();
      } else if (event.kind === 'renewed') {
        this.#lapsed.delete(incarnationId(event.host, event.incarnation));
        this.#pending.delete(incarnationId(event.host, event.incarnation));
        this.#parts.onLapse();
      }
    });
    this.#parts.watch.onChange(() => this.#loop.trigger());
  }

  async stop(): Promise<void> {
    await this.#loop.stop();
  }

  async #work(): Promise<void> {
    const { watch, host } = this.#parts;
    const config = configOf(watch.view);
    if (this.#hello === undefined || !watch.known || config === undefined) return;
    if (!config.controllers.includes(host)) return;
    await this.#takeControl(this.#hello);
    for (const [id, lapsed] of [...this.#pending]) {
      if (await this.#vote(this.#hello, lapsed)) this.#pending.delete(id);
    }
  }

  /** Hands pulse what it may not acknowledge, and the hosts it may. */
  async #takeControl(hello: PulseHello): Promise<void> {
    const { watch, host, store, pulse, journal, pulsePort } = this.#parts;
    const config = configOf(watch.view);
    if (config === undefined) return;
    const { leaseMs, clockMarginPercent } = config.timing;
    const names = config.hosts.map(({ name }) => name);
    const hosts = peersOf(config, names, pulsePort);
    const watched = watchedIncarnations(watch.view);
    const wish = JSON.stringify([hello.nonce, leaseMs, clockMarginPercent, hosts, watched]);
    if (wish === this.#controlling) return;
    const key = controllerStartKey(host);
    const record: StartRecord = { nonce: hello.nonce };
    const current = await store.get(key);
    if (current?.value !== JSON.stringify(record)) {
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
    const stopped = [...(await this.#readStopped()), ...hello.stopped];
    await order(pulse, {
      kind: 'control',
      controller: host,
      hosts,
      stopped,
      watched,
      leaseMs,
      clockMarginPercent,
    });
    this.#controlling = wish;
    this.#parts.onControl();
  }

  /** My standing votes and every retired incarnation, read linearizably. */
  async #readStopped(): Promise<readonly { host: string; incarnation: number }[]> {
    const { store, host: me } = this.#parts;
    const [votes, retired] = await Promise.all([store.list('votes/'), store.list('retired/')]);
    const voted = votes.entries.flatMap(({ key, value }) => {
      const [, host = '', incarnation = '', controller] = key.split('/');
      const standing = (JSON.parse(value) as VoteRecord).state === 'expired';
      return controller === me && standing ? [{ host, incarnation: Number(incarnation) }] : [];
    });
    const marks = retired.entries.map(({ key }) => {
      const [, host = '', incarnation = ''] = key.split('/');
      return { host, incarnation: Number(incarnation) };
    });
    return [...voted, ...marks];
  }

  /** True when this lapse needs no more work. An unknown result counts as voted: it is repeated. */
  async #vote(hello: PulseHello, lapsed: Lapsed): Promise<boolean> {
    const { watch, host: me, store, pulse, clock, journal } = this.#parts;
    const { host, incarnation, lastAckAgoMs } = lapsed;
    const id = incarnationId(host, incarnation);
    if (watch.view.retired.has(id)) return true;
    const mine = watch.view.votes.get(id)?.get(me);
    if (mine?.value.state === 'expired') return true;
    const reply = await pulse.request({
      kind: 'stop-acks',
      host,
      incarnation,
      onlyIfLapsed: true,
    });
    // It came back between the report and now: nothing was stopped, so nothing is voted.
    if (reply.kind === 'error' && reply.code === 'US_PULSE_PROMISED') return true;
    if (reply.kind !== 'ok') throw new Error(`pulse did not stop acknowledging ${id}`);
    const key = voteKey(host, incarnation, me);
    const vote: VoteRecord = {
      state: 'expired',
      lastAckAgoMs,
      atMs: lapsed.atMs,
      bootId: hello.bootId,
    };
    const start: StartRecord = { nonce: hello.nonce };
    const write = [put(key, vote)];
    const result = await store.transact({
      compare: [
        { kind: 'value', key: controllerStartKey(me), value: JSON.stringify(start) },
        mine === undefined
          ? { kind: 'absent', key }
          : { kind: 'revision', key, modRevision: mine.revision },
      ],
      write,
    });
    // The vote that makes the majority is committed on at once.
    if (result.done) watch.learn(write, result.revision);
    const there = result.current.find((entry) => entry.key === key);
    if (!result.done && there?.value !== JSON.stringify(vote)) {
      this.#parts.log.warn(
        { host, incarnation },
        `vote refused at ${clock.bootMs()} ms; reading again`,
      );
      return false;
    }
    journal.event(
      'vote',
      host,
      `${me} votes ${id} expired: ${lastAckAgoMs === null ? 'never heard since this controller started' : `no heartbeat for ${Math.round(lastAckAgoMs)} ms`}`,
    );
    return true;
  }
}

/** Incarnations that the store names: silence of one of them is worth a vote, even if never heard. */
function watchedIncarnations(view: View): readonly { host: string; incarnation: number }[] {
  const ids = new Set<string>();
  for (const [host, { value }] of view.hosts) ids.add(incarnationId(host, value.incarnation));
  for (const { value } of view.assignments.values()) {
    if (value.host !== null) ids.add(incarnationId(value.host, value.incarnation));
  }
  return [...ids].sort().map((id) => {
    const [host = '', incarnation] = id.split('/');
    return { host, incarnation: Number(incarnation) };
  });
}

export interface VoterParts {
  readonly host: string;
  readonly pulsePort: number;
  readonly store: Store;
  readonly watch: ClusterWatch;
  readonly pulse: PulsePort;
  readonly clock: Clock;
  readonly journal: Journal;
  readonly log: Log;
  readonly timers: Timers;
  /** The set of lapsed hosts changed: placement looks again. */
  onLapse(): void;
  /** Pulse grants from now on what the store lets it. */
  onControl(): void;
}
