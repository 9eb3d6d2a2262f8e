import type { TrafficReport } from '../control/records.js';
import type { DispatchAdapter } from '../dispatch/types.js';
import { repeat, type Timers } from '../store/timers.js';
import { type Log, Loop } from './loop.js';

const leastEveryMs = 10_000;
/** Each report reaches every agent: the whole cluster sends no more than four of these a second. */
const everyMsForService = 250;
/** Of all services here together; with more, services are told as a whole. Keeps a report small. */
const mostMembers = 256;

/**
 * What this host's dispatcher has counted, for its report: read now and then, beside everything that
 * anybody waits for. `/metrics` reads anew each time.
 */
export class TrafficWatch {
  readonly #parts: TrafficParts;
  readonly #loop: Loop;
  readonly #end: () => void;
  #traffic: readonly TrafficReport[] = [];
  #counted: readonly TrafficReport[] = [];
  #countedAtMs = 0;
  #readAtMs: number;

  constructor(parts: TrafficParts) {
    this.#parts = parts;
    this.#readAtMs = parts.timers.nowMs();
    this.#loop = new Loop('traffic', parts, () => this.#read());
    this.#end = repeat(parts.timers, leastEveryMs, () => {
      const dueMs = Math.max(leastEveryMs, parts.services() * everyMsForService);
      if (parts.timers.nowMs() - this.#readAtMs < dueMs - leastEveryMs / 2) return;
      this.#readAtMs = parts.timers.nowMs();
      this.#loop.trigger();
    });
  }

  traffic(): readonly TrafficReport[] {
    return this.#traffic;
  }

  async stop(): Promise<void> {
    this.#end();
    await this.#loop.stop();
  }

  async #read(): Promise<void> {
    const atMs = this.#parts.timers.nowMs();
    const plain = await this.#parts.dispatch.allCounters();
    const counted = withRates(plain, this.#counted, (atMs - this.#countedAtMs) / 1_000);
    this.#counted = plain;
    this.#countedAtMs = atMs;
    const members = counted.reduce((sum, { forwarded }) => sum + forwarded.length, 0);
    const before = JSON.stringify(this.#traffic);
    this.#traffic =
      members <= mostMembers ? counted : counted.map((one) => ({ ...one, forwarded: [] }));
    if (JSON.stringify(this.#traffic) !== before) this.#parts.onRead();
  }
}

export interface TrafficParts {
  readonly dispatch: Pick<DispatchAdapter, 'allCounters'>;
  readonly timers: Timers;
  readonly log: Log;
  /** How many the cluster has. */
  services(): number;
  onRead(): void;
}

/** A dispatcher that began anew counts from 0: its rates are told from the next reading on. */
function withRates(
  counted: readonly TrafficReport[],
  before: readonly TrafficReport[],
  seconds: number,
): readonly TrafficReport[] {
  return counted.map((one) => {
    const last = before.find(({ service }) => service === one.service);
    const forwarded = one.forwarded.map((member) => {
      const from = last?.forwarded.find(({ personality }) => personality === member.personality);
      if (from === undefined || seconds <= 0 || member.packets < from.packets) return member;
      const rate = (now: number, then: number) => Math.round(((now - then) / seconds) * 10) / 10;
      const perSecond = {
        packets: rate(member.packets, from.packets),
        bytes: rate(member.bytes, from.bytes),
        newFlows: rate(member.newFlows, from.newFlows),
      };
      return { ...member, perSecond };
    });
    return { ...one, forwarded };
  });
}
