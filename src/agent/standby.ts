import type { Duplex } from 'node:stream';
import { changedFlows, type FlowWords, noFlows } from '../dispatch/flow-words.js';
import type { Memory, ServiceMemory } from '../dispatch/memory.js';
import { packMemory } from '../dispatch/memory-bytes.js';
import { messageOf } from '../errors.js';
import type { Timers } from '../store/timers.js';
import type { Log } from './loop.js';
import { FrameReader, frameBytes, macsBody, numberOf, roundBody } from './memory-frames.js';

/** In one round: 200 KB. The rest goes with the next ones. */
const mostFlowsARound = 16_384;
/** In units of 2^30 ns: times decide which record goes first where there is no room, and of sticky UDP. */
const refreshUnits = 4;
/** Rounds that were not answered; who is slower than that gets no further ones. */
const mostUnheard = 4;
const mostWaitingBytes = 1024 * 1024;
/** Between two tries to reach it. */
const redialMs = 1_000;
/** Sets of members are some ten KB each. */
export const mostToldServices = 64;

/** One host that is told what this one remembers: all of it at first, then what changed. */
export class Standby {
  readonly #host: string;
  readonly #parts: StandbyParts;
  #stream: Duplex | undefined;
  #dialledMs = Number.NEGATIVE_INFINITY;
  #sent: FlowWords | undefined;
  #from = 0;
  #macs = '';
  readonly #services = new Map<string, ServiceMemory & { readonly epoch: number }>();
  #round = 0;
  /** When what a round tells was read, by its number. */
  readonly #unheard = new Map<number, number>();
  #asOfMs: number | undefined;

  constructor(host: string, parts: StandbyParts) {
    this.#host = host;
    this.#parts = parts;
  }

  /** It has all that was so then; undefined: not yet. */
  get asOfMs(): number | undefined {
    return this.#asOfMs;
  }

  /** @param epochs of the services that are this host's */
  async tell(
    memory: Memory,
    epochs: ReadonlyMap<string, number>,
    asOfMs: number,
    { address, port }: { readonly address: string; readonly port: number },
  ): Promise<void> {
    const stream = this.#stream ?? this.#dial(address, port);
    if (stream === undefined || this.#unheard.size >= mostUnheard) return;
    if (stream.writableLength > mostWaitingBytes) return;
    const macs = memory.flows.macs.join();
    if (macs !== this.#macs) stream.write(frameBytes('members', macsBody(memory.flows.macs)));
    this.#macs = macs;
    const told = memory.services
      .filter(({ service }) => epochs.has(service))
      .slice(0, mostToldServices);
    const names = told.map(({ service }) => service);
    // What a round does not name the other one forgets.
    for (const name of this.#services.keys())
      if (!names.includes(name)) this.#services.delete(name);
    for (const one of told) {
      await this.#tellService(stream, { ...one, epoch: epochs.get(one.service) ?? 0 });
    }
    this.#sent ??= noFlows();
    const { bytes, next, all } = changedFlows(memory.flows.words, this.#sent, {
      from: this.#from,
      most: mostFlowsARound,
      refresh: refreshUnits,
      time: memory.time,
    });
    this.#from = next;
    if (stream !== this.#stream) return; // it ended meanwhile, and all begins anew
    if (bytes.length > 0) stream.write(frameBytes('flows', bytes));
    this.#round = (this.#round + 1) >>> 0;
    // A part of the flows is as old as the whole that was told before.
    this.#unheard.set(this.#round, all ? asOfMs : (this.#asOfMs ?? Number.NaN));
    stream.write(frameBytes('round', roundBody(this.#round, names)));
  }

  close(): void {
    this.#stream?.destroy();
    this.#forget();
  }

  async #tellService(
    stream: Duplex,
    now: ServiceMemory & { readonly epoch: number },
  ): Promise<void> {
    const { service, epoch, ring, birth } = now;
    const before = this.#services.get(service);
    if (before?.epoch === epoch && before.ring === ring && before.birth === birth) return;
    const packed = await packMemory(now, this.#parts.bootMs());
    if (stream !== this.#stream) return;
    this.#services.set(service, now);
    stream.write(frameBytes('service', packed));
  }

  #dial(address: string, port: number): Duplex | undefined {
    const nowMs = this.#parts.timers.nowMs();
    if (nowMs - this.#dialledMs < redialMs) return undefined;
    this.#dialledMs = nowMs;
    const stream = this.#parts.dial(address, port);
    this.#stream = stream;
    const reader = new FrameReader();
    stream.on('data', (chunk: Buffer) => {
      try {
        for (const { kind, body } of reader.take(chunk)) {
          if (kind === 'heard') this.#heard(numberOf(body));
        }
      } catch (thrown) {
        stream.destroy(thrown instanceof Error ? thrown : undefined);
      }
    });
    stream.on('error', (thrown) => {
      const fields = { standby: this.#host, cause: messageOf(thrown) };
      this.#parts.log.debug(fields, 'not told what is remembered of flows');
    });
    stream.once('close', () => {
      if (this.#stream === stream) this.#forget();
    });
    return stream;
  }

  #heard(round: number): void {
    const asOfMs = this.#unheard.get(round);
    this.#unheard.delete(round);
    if (asOfMs !== undefined && !Number.isNaN(asOfMs)) this.#asOfMs = asOfMs;
  }

  /** The next stream begins anew. */
  #forget(): void {
    this.#stream = undefined;
    this.#sent = undefined;
    this.#from = 0;
    this.#macs = '';
    this.#services.clear();
    this.#unheard.clear();
  }
}

export interface StandbyParts {
  readonly timers: Timers;
  readonly log: Log;
  /** Of this host's boot clock. */
  bootMs(): number;
  dial(address: string, port: number): Duplex;
}
