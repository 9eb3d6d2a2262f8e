import type { Duplex } from 'node:stream';
import { type FlowWords, flowTime, noFlows, takeFlows } from '../dispatch/flow-words.js';
import type { Inherited } from '../dispatch/memory.js';
import { type TaggedMemory, unpackMemory } from '../dispatch/memory-bytes.js';
import { messageOf } from '../errors.js';
import type { Log } from './loop.js';
import {
  type Frame,
  FrameReader,
  frameBytes,
  macsOf,
  numberBody,
  roundOf,
} from './memory-frames.js';
import { mostToldServices } from './standby.js';

/** Hosts that are heard; 2 MB each. */
export const mostTellers = 16;
/** Of what was told longer ago, too much has changed since. */
const longestKeptMs = 60_000;

/** What one host told, on one connection. */
interface Told {
  readonly services: Map<string, TaggedMemory>;
  readonly words: FlowWords;
  macs: readonly string[];
  /** The last round that is complete; undefined: none yet. */
  asOfMs: number | undefined;
}

/** Keeps what hosts that dispatch tell, for when a service of theirs comes here. */
export class MemoryReceiver {
  readonly #parts: MemoryReceiverParts;
  /** By host; the one told last at the end. */
  readonly #told = new Map<string, Told>();

  constructor(parts: MemoryReceiverParts) {
    this.#parts = parts;
  }

  /** Hears a host until the stream ends. Never rejects. */
  async hear(host: string, stream: Duplex): Promise<void> {
    const told: Told = { services: new Map(), words: noFlows(), macs: [], asOfMs: undefined };
    const reader = new FrameReader();
    try {
      // One frame after another: while one is unpacked the sender waits.
      for await (const chunk of stream) {
        for (const frame of reader.take(chunk as Buffer)) {
          const round = await this.#take(told, frame);
          if (round === undefined) continue;
          this.#keep(host, told);
          stream.write(frameBytes('heard', numberBody(round)));
        }
      }
    } catch (thrown) {
      stream.destroy();
      this.#parts.log.debug({ host, cause: messageOf(thrown) }, 'hears no more of its flows');
    }
  }

  /**
   * What the dispatcher before this one knew of a service: who had it one epoch ago, and not long ago.
   *
   * @param epoch under which it comes here
   */
  inherited(service: string, epoch: number): Inherited | undefined {
    const nowMs = this.#parts.bootMs();
    for (const [host, { services, words, macs, asOfMs }] of [...this.#told].reverse()) {
      const memory = services.get(service);
      if (asOfMs === undefined || memory?.epoch !== epoch - 1) continue;
      const ageMs = nowMs - asOfMs;
      if (ageMs > longestKeptMs) continue;
      this.#parts.log.info({ service, from: host, ageMs }, 'told what its flows are');
      const { birth, ring } = memory;
      return { birth, ring, flows: { words, macs } };
    }
    return undefined;
  }

  /** A host's former connection counts until all was told anew. */
  #keep(host: string, told: Told): void {
    told.asOfMs = this.#parts.bootMs();
    this.#told.delete(host);
    this.#told.set(host, told);
    for (const [name, { asOfMs = 0 }] of this.#told) {
      const isOld = this.#parts.bootMs() - asOfMs > longestKeptMs;
      if (isOld || this.#told.size > mostTellers) this.#told.delete(name);
    }
  }

  /** @returns the number of a round that is complete. @throws for what no agent says */
  async #take(told: Told, { kind, body }: Frame): Promise<number | undefined> {
    switch (kind) {
      case 'service': {
        const memory = await unpackMemory(body, this.#parts.bootMs());
        told.services.set(memory.service, memory);
        // Those that the next round no longer names are still there.
        if (told.services.size > 2 * mostToldServices) throw new RangeError('too many services');
        return undefined;
      }
      case 'members':
        told.macs = macsOf(body);
        return undefined;
      case 'flows':
        takeFlows(told.words, body, flowTime(BigInt(Math.floor(this.#parts.bootMs() * 1e6))));
        return undefined;
      case 'round': {
        const { number, names } = roundOf(body);
        for (const service of told.services.keys()) {
          if (!names.has(service)) told.services.delete(service);
        }
        return number;
      }
      default:
        throw new RangeError(`${kind} is an answer`);
    }
  }
}

export interface MemoryReceiverParts {
  readonly log: Log;
  /** Of this host's boot clock. */
  bootMs(): number;
}
