import {
  decideFencing,
  type FencingState,
  fencingEnded,
  initialFencing,
  type SwitchOff,
} from '../control/fencing.js';
import { fencedKey, hostKey } from '../control/keys.js';
import type { FencedRecord, HostRecord } from '../control/records.js';
import { incarnationId } from '../control/view.js';
import { messageOf } from '../errors.js';
import type { PowerAdapter } from '../fencing/types.js';
import type { Timers } from '../store/timers.js';
import type { Compare, Store } from '../store/types.js';
import type { Clock } from './clock.js';
import type { ClusterWatch } from './cluster-watch.js';
import { isShutOutForGood } from './finality.js';
import type { Journal } from './journal.js';
import { type Log, Loop } from './loop.js';
import { put } from './transactions.js';

/**
 * Switches off hosts that were voted out and are not proven silent: the leader only, so that brakes
 * count what is done for the whole cluster. Two leaders at once would switch off twice, which harms
 * nobody: what a takeover rests on is the record that this leaves.
 */
export class PowerFencing {
  readonly #parts: PowerFencingParts;
  readonly #loop: Loop;
  readonly #stopping = new AbortController();
  readonly #underWay = new Set<Promise<void>>();
  readonly #held = new Map<string, string>();
  #state: FencingState = initialFencing;
  #office: Compare | undefined;

  constructor(parts: PowerFencingParts) {
    this.#parts = parts;
    this.#loop = new Loop('power fencing', parts, () => this.#decide());
  }

  begin(office: Compare): void {
    this.#office = office;
    this.#loop.trigger();
  }

  end(): void {
    this.#office = undefined;
  }

  look(): void {
    this.#loop.trigger();
  }

  async stop(): Promise<void> {
    this.#stopping.abort(new Error('the agent stops'));
    await this.#loop.stop();
    await Promise.all(this.#underWay);
  }

  async #decide(): Promise<void> {
    const { watch, clock, journal } = this.#parts;
    if (this.#office === undefined) return;
    const decided = decideFencing(this.#state, watch.view, clock.bootMs());
    this.#state = decided.state;
    if (decided.wakeAtMs !== undefined) this.#loop.triggerIn(decided.wakeAtMs - clock.bootMs());
    for (const verdict of decided.verdicts) {
      const id = incarnationId(verdict.host, verdict.incarnation);
      if (verdict.kind === 'switch-off') {
        this.#held.delete(id);
        const job = this.#switchOff(verdict).finally(() => this.#underWay.delete(job));
        this.#underWay.add(job);
      } else if (this.#held.get(id) !== verdict.reason) {
        this.#held.set(id, verdict.reason);
        journal.event('hold', id, verdict.reason);
      }
    }
  }

  async #switchOff(order: SwitchOff): Promise<void> {
    const { power, clock, journal, log } = this.#parts;
    const { host, incarnation } = order;
    journal.event('power', host, `switching it off: ${order.reason}`);
    let off = false;
    try {
      await this.#mustBeFinal(order);
      await power.switchOff(host, order.power, this.#stopping.signal);
      off = await this.#record(order);
    } catch (thrown) {
      if (this.#stopping.signal.aborted) return;
      journal.event('power', host, messageOf(thrown));
      log.warn({ target: host, incarnation, error: thrown }, messageOf(thrown));
    }
    this.#state = fencingEnded(this.#state, order, off, clock.bootMs());
    this.#loop.trigger();
  }

  async #mustBeFinal({ host, incarnation }: SwitchOff): Promise<void> {
    const { store } = this.#parts;
    const [final, enrolled] = await Promise.all([
      isShutOutForGood(store, host, incarnation),
      store.get(hostKey(host)),
    ]);
    if (!final) {
      throw new Error(`left on: a vote against ${incarnationId(host, incarnation)} was withdrawn`);
    }
    // Nothing is left of the one before when the next enrols, and that one may be a good spare.
    const now = enrolled === undefined ? undefined : (JSON.parse(enrolled.value) as HostRecord);
    if (now !== undefined && now.incarnation > incarnation) {
      throw new Error(`left on: it is back as ${incarnationId(host, now.incarnation)}`);
    }
  }

  /** That a machine was off after its incarnation was voted out stays true, whoever is leader now. */
  async #record({ host, incarnation, power }: SwitchOff): Promise<boolean> {
    const { store, clock, journal } = this.#parts;
    const key = fencedKey(host, incarnation);
    const detail = `${power.agent} says ${power.action === 'off' ? 'off' : 'rebooted'}`;
    const record: FencedRecord = { by: 'power', atUnixMs: clock.unixMs(), detail };
    const result = await store.transact({
      compare: [{ kind: 'absent', key }],
      write: [put(key, record)],
    });
    if (result.done)
      journal.event('power', host, `${incarnationId(host, incarnation)} is off: ${detail}`);
    return result.done || result.current.length > 0;
  }
}

export interface PowerFencingParts {
  readonly store: Store;
  readonly watch: ClusterWatch;
  readonly clock: Clock;
  readonly journal: Journal;
  readonly log: Log;
  readonly timers: Timers;
  readonly power: PowerAdapter;
}
