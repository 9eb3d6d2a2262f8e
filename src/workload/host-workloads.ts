import { CommandWorkload, type CommandWorkloadOptions } from './command-workload.js';
import type {
  FailureListener,
  ObservedWorkload,
  WorkloadAdapter,
  WorkloadFailures,
  WorkloadSpec,
} from './types.js';
import { UnitWorkload, type UnitWorkloadOptions } from './unit-workload.js';

/** All workloads of one host, whichever kind: what the agent is given. */
export class HostWorkloads implements WorkloadAdapter {
  readonly #commands: CommandWorkload;
  readonly #units: UnitWorkload;

  constructor(options: CommandWorkloadOptions & UnitWorkloadOptions = {}) {
    this.#commands = new CommandWorkload(options);
    this.#units = new UnitWorkload(options);
  }

  async start(signal: AbortSignal): Promise<void> {
    await this.#commands.start(signal);
    await this.#units.start(signal);
  }

  async stop(): Promise<void> {
    await this.#commands.stop();
    await this.#units.stop();
  }

  /** A command needs nothing before it runs. */
  async prepare(specs: readonly WorkloadSpec[], signal: AbortSignal): Promise<void> {
    await this.#units.prepare(specs, signal);
  }

  /** Also ends a workload of the other kind, from before the cluster file was changed. */
  async ensure(spec: WorkloadSpec, signal: AbortSignal): Promise<void> {
    if (spec.workload.kind === 'unit') {
      await this.#commands.remove(spec.personality, signal);
      await this.#units.ensure(spec, signal);
    } else {
      await this.#units.remove(spec.personality, signal);
      await this.#commands.ensure(spec, signal);
    }
  }

  async remove(personality: string, signal: AbortSignal): Promise<void> {
    await this.#units.remove(personality, signal);
    await this.#commands.remove(personality, signal);
  }

  /** Both, whatever becomes of either. */
  async abort(personality: string, signal: AbortSignal): Promise<void> {
    const ends = await Promise.allSettled([
      this.#units.abort(personality, signal),
      this.#commands.abort(personality, signal),
    ]);
    for (const end of ends) if (end.status === 'rejected') throw end.reason;
  }

  failures(personality: string): WorkloadFailures | undefined {
    return this.#units.failures(personality) ?? this.#commands.failures(personality);
  }

  onFailure(listener: FailureListener): void {
    this.#units.onFailure(listener);
    this.#commands.onFailure(listener);
  }

  async observe(signal: AbortSignal): Promise<readonly ObservedWorkload[]> {
    return [...(await this.#commands.observe(signal)), ...(await this.#units.observe(signal))];
  }
}
