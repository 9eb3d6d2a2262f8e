import type { AttachedVolume, AttachSpec, Reserved, StorageAdapter } from '../storage/types.js';
import { initiatorName } from '../storage/types.js';
import type { Effort } from './effort.js';
import type { DataPath, Kernel } from './kernel.js';
import { Turns } from './turns.js';

export interface SimStorageParts {
  readonly kernel: Kernel;
  readonly effort: Effort;
  /** Whether the target lets this initiator in, now and from this host. */
  letsIn(target: string, initiator: string): boolean;
  /** Makes this epoch the only one that may write. @returns the epochs that were thrown out */
  reserve(target: string, initiator: string, epoch: number): readonly string[];
  /** The LUN's bytes are read from now on: what an older epoch writes later would be lost. */
  read(spec: AttachSpec): void;
}

/** Volumes of one host: a data path that logs in, then a mount. */
export class SimStorage implements StorageAdapter {
  readonly #parts: SimStorageParts;
  readonly #turns = new Turns();

  constructor(parts: SimStorageParts) {
    this.#parts = parts;
  }

  async start(): Promise<void> {}
  async stop(): Promise<void> {}

  async warm(_spec: AttachSpec, signal: AbortSignal): Promise<void> {
    await this.#parts.effort.step('try the portals', 0.5, 5, signal);
  }

  async fence(spec: AttachSpec, signal: AbortSignal): Promise<Reserved> {
    const { kernel, effort, letsIn, reserve } = this.#parts;
    const { cluster, personality, host, epoch, lun, target } = spec;
    return this.#turns.take(`${personality}/${lun}`, async () => {
      const there = this.#path(personality, lun);
      const kept = there?.epoch === epoch && letsIn(target, there.initiator);
      // Who registers has no data path.
      if (there !== undefined && !kept) kernel.removePath(there);
      await effort.step(`reserve ${target}`, 2, 20, signal);
      const preempted = reserve(target, initiatorName(cluster, personality, host, epoch), epoch);
      return { key: `epoch ${epoch}`, preempted };
    });
  }

  async attach(spec: AttachSpec, signal: AbortSignal): Promise<AttachedVolume> {
    const { kernel, effort, letsIn } = this.#parts;
    const { cluster, personality, host, epoch, lun, target } = spec;
    return this.#turns.take(`${personality}/${lun}`, async () => {
      const there = this.#path(personality, lun);
      if (there?.epoch === epoch && there.mounted) return attached(spec);
      if (there !== undefined) {
        await effort.step(`take down LUN ${lun} of ${personality}`, 1, 10, signal);
        kernel.removePath(there);
      }
      await effort.step(`log in to ${target}`, 1, 12, signal);
      const initiator = initiatorName(cluster, personality, host, epoch);
      if (!letsIn(target, initiator)) throw new Error(`${target}: Target not found`);
      const path: DataPath = { personality, lun, epoch, target, initiator, mounted: false };
      kernel.setPath(path);
      try {
        this.#parts.read(spec);
        await effort.step(`mount LUN ${lun} of ${personality}`, 3, 30, signal);
        if (!letsIn(target, initiator)) throw new Error(`${target}: connection lost`);
      } catch (thrown) {
        kernel.removePath(path);
        throw thrown;
      }
      path.mounted = true;
      return attached(spec);
    });
  }

  async flush(personality: string, lun: number, signal: AbortSignal): Promise<void> {
    await this.#parts.effort.step(`flush LUN ${lun} of ${personality}`, 1, 25, signal);
  }

  async detach(personality: string, lun: number, signal: AbortSignal): Promise<void> {
    await this.#takeDown(personality, lun, signal);
  }

  async abort(personality: string, lun: number, signal: AbortSignal): Promise<void> {
    await this.#takeDown(personality, lun, signal);
  }

  async observe(signal: AbortSignal): Promise<readonly AttachedVolume[]> {
    await this.#parts.effort.step('look at volumes', 0.2, 2, signal);
    return [...this.#parts.kernel.paths.values()].map((path) => ({
      personality: path.personality,
      lun: path.lun,
      volume: path.target,
      epoch: path.epoch,
      device: '/dev/loop0',
      hostMount: `/run/understudy/${path.personality}/${path.lun}`,
      serial: path.target,
      sizeBytes: 1,
    }));
  }

  async #takeDown(personality: string, lun: number, signal: AbortSignal): Promise<void> {
    const { kernel, effort } = this.#parts;
    await this.#turns.take(`${personality}/${lun}`, async () => {
      await effort.step(`take down LUN ${lun} of ${personality}`, 1, 25, signal);
      kernel.removePath({ personality, lun });
    });
  }

  #path(personality: string, lun: number): DataPath | undefined {
    return this.#parts.kernel.paths.get(`${personality}/${lun}`);
  }
}

function attached(spec: AttachSpec): AttachedVolume {
  const { personality, lun, volume, epoch, target } = spec;
  const hostMount = `/run/understudy/${personality}/${lun}`;
  const rest = { device: '/dev/loop0', hostMount, serial: target, sizeBytes: 1 };
  return { personality, lun, volume, epoch, ...rest };
}
