import type { ClusterConfig } from '../config/types.js';
import { configOf } from '../control/view.js';
import type { DispatchAdapter } from '../dispatch/types.js';
import type { StorageAdapter } from '../storage/types.js';
import type { Timers } from '../store/timers.js';
import type { WorkloadAdapter } from '../workload/types.js';
import type { ClusterWatch } from './cluster-watch.js';
import { type Log, Loop } from './loop.js';
import type { RoleParts } from './role-parts.js';
import { attachSpecs } from './specs.js';
import { workloadSpec } from './workload-spec.js';

/** Getting ready for the next takeover must not slow down the one that is under way. */
const calmMs = 1_000;

/**
 * Keeps this host ready for disks it does not have: the path to their portals tried, a disk process
 * waiting. Nothing of a volume is read (that would be before the fence). For services that it does not
 * dispatch: the kernel takes long to check their program. And for units that do not run here: what
 * puts them into their personality is written, so that they cannot start outside of it at boot, and
 * no takeover waits for systemd to read its files again.
 */
export class Warmth {
  readonly #parts: WarmthParts;
  readonly #loop: Loop;
  #cancelNudge: (() => void) | undefined;
  /** Where every disk was when this was done last; done again only when one has moved. */
  #done = '';

  constructor(parts: WarmthParts) {
    this.#parts = parts;
    this.#loop = new Loop('warmth', parts, (signal) => this.#warm(signal));
  }

  start(): void {
    const { watch } = this.#parts;
    watch.onChange(() => this.look(), ['config', 'assign', 'volume']);
  }

  /** Something that it rests on has changed. */
  look(): void {
    this.#cancelNudge ??= this.#parts.timers.after(calmMs, () => {
      this.#cancelNudge = undefined;
      this.#loop.nudge();
    });
  }

  async stop(): Promise<void> {
    this.#cancelNudge?.();
    await this.#loop.stop();
  }

  async #warm(signal: AbortSignal): Promise<void> {
    const { watch, host } = this.#parts;
    const config = configOf(watch.view);
    if (config === undefined) return;
    const pool = config.hosts.find(({ name }) => name === host)?.pool ?? null;
    // None waits for another: a target that is away leaves services as quick as ever.
    const all = await Promise.allSettled([
      this.#warmWorkloads(config, pool, signal),
      ...(pool === null
        ? []
        : [this.#warmDispatch(config, pool), this.#warmDisks(config, pool, signal)]),
    ]);
    for (const one of all) if (one.status === 'rejected') throw one.reason;
  }

  async #warmDispatch(config: ClusterConfig, pool: string): Promise<void> {
    const incarnation = this.#parts.incarnation();
    const mayDispatch = config.services.some((service) => service.pool === pool);
    if (mayDispatch && incarnation !== undefined) await this.#parts.dispatch.warm(incarnation);
  }

  /** Of all personalities that could come here: units of those that no longer can are let go of. */
  async #warmWorkloads(
    config: ClusterConfig,
    pool: string | null,
    signal: AbortSignal,
  ): Promise<void> {
    const { workload } = this.#parts;
    const possible = config.personalities.filter((one) => pool !== null && one.pool === pool);
    const specs = possible.flatMap(({ name }) => workloadSpec(config, name, 0, this.#parts) ?? []);
    await workload.prepare(specs, signal);
  }

  async #warmDisks(config: ClusterConfig, pool: string, signal: AbortSignal): Promise<void> {
    const { watch, host, storage } = this.#parts;
    const elsewhere = config.personalities.filter(({ name, pool: wanted }) => {
      const owner = watch.view.assignments.get(`personality/${name}`)?.value.host;
      return wanted === pool && owner !== host;
    });
    const specs = elsewhere.flatMap(({ name }) => attachSpecs(watch.view, config, name, host, 0));
    const places = [...watch.view.assignments].map(([id, { value }]) => `${id} ${value.epoch}`);
    const wish = JSON.stringify([specs.map(({ portals }) => portals), places]);
    if (wish === this.#done) return;
    const byPortals = new Map(specs.map((spec) => [spec.portals.join(' '), spec]));
    for (const spec of byPortals.values()) await storage.warm(spec, signal);
    this.#done = wish;
  }
}

export interface WarmthParts extends Pick<RoleParts, 'namespacePath' | 'hostMount'> {
  readonly host: string;
  readonly watch: ClusterWatch;
  readonly storage: StorageAdapter;
  readonly workload: WorkloadAdapter;
  readonly dispatch: DispatchAdapter;
  readonly log: Log;
  readonly timers: Timers;
  incarnation(): number | undefined;
}
