import type { DispatchAdapter } from '../dispatch/types.js';
import type { ObservedWorkload, WorkloadAdapter, WorkloadSpec } from '../workload/types.js';
import type { Effort } from './effort.js';
import type { Kernel } from './kernel.js';

/** Workloads of one host: they run on when the agent ends. */
export class SimWorkloads implements WorkloadAdapter {
  readonly #kernel: Kernel;
  readonly #effort: Effort;

  constructor(kernel: Kernel, effort: Effort) {
    this.#kernel = kernel;
    this.#effort = effort;
  }

  async start(): Promise<void> {}
  async stop(): Promise<void> {}
  async prepare(): Promise<void> {}

  async ensure({ personality, epoch }: WorkloadSpec, signal: AbortSignal): Promise<void> {
    if (this.#kernel.workloads.get(personality)?.epoch === epoch) return;
    await this.#effort.step(`start the workload of ${personality}`, 1, 15, signal);
    this.#kernel.workloads.set(personality, { personality, epoch });
  }

  async remove(personality: string, signal: AbortSignal): Promise<void> {
    await this.#effort.step(`stop the workload of ${personality}`, 1, 60, signal);
    this.#kernel.workloads.delete(personality);
  }

  async abort(personality: string, signal: AbortSignal): Promise<void> {
    await this.#effort.step(`kill the workload of ${personality}`, 0.5, 5, signal);
    this.#kernel.workloads.delete(personality);
  }

  failures(): undefined {}
  onFailure(): void {}

  async observe(signal: AbortSignal): Promise<readonly ObservedWorkload[]> {
    await this.#effort.step('look at workloads', 0.2, 2, signal);
    return [...this.#kernel.workloads.values()].map((workload) => ({
      ...workload,
      kind: 'command',
      state: 'running',
      pid: 1,
      restarts: 0,
      lastEnd: '',
    }));
  }
}

/** Dispatching is not what is simulated: where a service is assigned, it counts. */
export function simDispatch(effort: Effort): DispatchAdapter {
  return {
    start: async () => {},
    stop: async () => {},
    warm: async () => {},
    ensure: () => effort.step('set up dispatching', 0.5, 5),
    remove: () => effort.step('end dispatching', 0.5, 5),
    counters: async (service) => ({ service, received: 0, forwarded: [], passed: 0, dropped: {} }),
    allCounters: async () => [],
    memoryEveryMs: () => undefined,
    memory: async () => undefined,
  };
}
