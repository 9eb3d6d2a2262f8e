import type { BpfLog } from '../bpf/place.js';
import type { TrafficReport } from '../control/records.js';
import { messageOf, UnderstudyError } from '../errors.js';
import type { Inherited, Memory } from './memory.js';
import type { NftDispatcher } from './nft-dispatcher.js';
import type { DispatchAdapter, DispatchSpec } from './types.js';

/** What it refuses again it refuses. That it is short of memory (US_BPF_NOT_NOW) says nothing of the program. */
const refusalsThatCount = 2;

/**
 * BPF for every service, and nftables for those that want it, or, unless they want BPF, when this kernel
 * does not take the program. That is for as long as this process runs: to change between them moves flows.
 */
export class Dispatchers implements DispatchAdapter {
  readonly #bpf: DispatchAdapter;
  readonly #nft: NftDispatcher;
  readonly #log: BpfLog;
  /** What each service that was ensured goes by. */
  readonly #by = new Map<string, 'bpf' | 'nftables'>();
  #refusals = 0;
  #refusal: unknown;

  constructor(bpf: DispatchAdapter, nft: NftDispatcher, log: BpfLog) {
    this.#bpf = bpf;
    this.#nft = nft;
    this.#log = log;
  }

  async start(signal: AbortSignal): Promise<void> {
    await this.#bpf.start(signal);
    await this.#nft.start();
  }

  async stop(): Promise<void> {
    await Promise.all([this.#bpf.stop(), this.#nft.stop()]);
  }

  /** @throws {UnderstudyError} as BpfDispatcher does, while that counts */
  async warm(incarnation: number): Promise<void> {
    if (!this.#bpfIsRefused) await this.#byBpf(() => this.#bpf.warm(incarnation));
  }

  /** @throws {UnderstudyError} as BpfDispatcher or NftDispatcher does */
  async ensure(spec: DispatchSpec, inherited?: Inherited): Promise<void> {
    const { service, dataPlane } = spec;
    if (dataPlane !== 'nftables' && (dataPlane === 'bpf' || !this.#bpfIsRefused)) {
      try {
        await this.#byBpf(() => this.#bpf.ensure(spec, inherited));
        await this.#changeTo(service, 'bpf');
        return;
      } catch (thrown) {
        if (dataPlane === 'bpf' || !this.#bpfIsRefused) throw thrown;
      }
    }
    await this.#nft.ensure(spec);
    await this.#changeTo(service, 'nftables');
  }

  async remove(service: string): Promise<void> {
    this.#by.delete(service);
    await this.#bpf.remove(service);
    await this.#nft.remove(service);
  }

  counters(service: string): Promise<TrafficReport> {
    const by = this.#by.get(service) === 'nftables' ? this.#nft : this.#bpf;
    return by.counters(service);
  }

  async allCounters(): Promise<readonly TrafficReport[]> {
    return [...(await this.#bpf.allCounters()), ...(await this.#nft.allCounters())];
  }

  /** nftables has no memory of flows. */
  memoryEveryMs(): number | undefined {
    return this.#bpf.memoryEveryMs();
  }

  memory(): Promise<Memory | undefined> {
    return this.#bpf.memory();
  }

  /** The other one goes when this one stands: no packet is without. */
  async #changeTo(service: string, by: 'bpf' | 'nftables'): Promise<void> {
    const before = this.#by.get(service);
    if (before === by) return;
    if (by === 'bpf') {
      if (this.#nft.has(service)) await this.#nft.remove(service);
    } else {
      await this.#bpf.remove(service);
      const why = this.#bpfIsRefused ? messageOf(this.#refusal) : 'as the cluster file says';
      this.#log.warn({ service, why }, 'dispatched by nftables: without memory of flows');
    }
    this.#by.set(service, by);
  }

  get #bpfIsRefused(): boolean {
    return this.#refusals >= refusalsThatCount;
  }

  async #byBpf(job: () => Promise<void>): Promise<void> {
    try {
      await job();
      if (!this.#bpfIsRefused) this.#refusals = 0;
    } catch (thrown) {
      if (thrown instanceof UnderstudyError && thrown.code === 'US_BPF_LOAD') {
        this.#refusals += 1;
        this.#refusal = thrown;
      }
      throw thrown;
    }
  }
}
