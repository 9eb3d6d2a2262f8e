import { setTimeout as pause } from 'node:timers/promises';
import { messageOf } from '../errors.js';
import { mapsOf, restorePaths } from './kernel-map.js';
import { disksOf } from './kernel-sessions.js';
import { pathsOf, readKernelState } from './kernel-state.js';
import type { Log } from './log.js';
import { type Layout, listVolumes, type VolumeId } from './state.js';

/** Once all paths were away, the volume's writes wait for this. */
const lookEveryMs = 1_000;

export interface PathKeeperParts {
  readonly layout: Layout;
  readonly log: Log;
  /** Runs what is to be done of a volume while nothing else is, or not at all. */
  undisturbed(id: VolumeId, job: (mayStill: () => boolean) => Promise<void>): Promise<void>;
}

/**
 * Gives paths that the kernel took away back to their map when they carry again, as multipathd does for its
 * own. It adds none: that would have to register a nexus which writes at once.
 */
export class PathKeeper {
  readonly #parts: PathKeeperParts;
  readonly #stopped = new AbortController();
  #looking: Promise<void> = Promise.resolve();

  constructor(parts: PathKeeperParts) {
    this.#parts = parts;
  }

  start(): void {
    this.#looking = this.#lookAgainAndAgain();
  }

  async stop(): Promise<void> {
    this.#stopped.abort();
    await this.#looking;
  }

  async #lookAgainAndAgain(): Promise<void> {
    const { signal } = this.#stopped;
    while (!signal.aborted) {
      await pause(lookEveryMs, undefined, { signal, ref: false }).catch(() => {});
      if (!signal.aborted) await this.look();
    }
  }

  async look(): Promise<void> {
    const { layout, log } = this.#parts;
    for (const id of await listVolumes(layout)) {
      try {
        await this.#restore(id);
      } catch (thrown) {
        log.warn({ ...id }, `paths of LUN ${id.lun} of ${id.personality}: ${messageOf(thrown)}`);
      }
    }
  }

  async #restore(id: VolumeId): Promise<void> {
    const { layout, log, undisturbed } = this.#parts;
    if ((await readKernelState(layout, id))?.joined !== true) return;
    await undisturbed(id, async (mayStill) => {
      const state = await readKernelState(layout, id);
      if (state?.stage !== 'attached') return;
      const map = (await mapsOf(layout, id)).find(({ number }) => number === state.disk?.number);
      if (map === undefined) return;
      const found = await Promise.all(pathsOf(state).map(({ session }) => disksOf(session)));
      const ours = new Set(pathsOf(state).map(({ number }) => number));
      const disks = found.flat().filter(({ number }) => ours.has(number));
      for (const path of await restorePaths(map, disks, mayStill)) {
        log.info({ ...id, path }, `LUN ${id.lun} of ${id.personality} has a path back`);
      }
    });
  }
}
