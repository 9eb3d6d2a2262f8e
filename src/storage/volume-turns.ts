import { setMaxListeners } from 'node:events';
import { UnderstudyError } from '../errors.js';
import type { VolumeId } from './state.js';
import type { AttachSpec } from './types.js';

/** One operation at a time for each volume; an abort gives up whatever is under way or waits. */
export class VolumeTurns {
  readonly #stopped: AbortSignal;
  readonly #turns = new Map<string, Promise<unknown>>();
  /** Changes asked for and not done, so that an abort need not wait for them. */
  readonly #changes = new Map<string, Set<AbortController>>();

  constructor(stopped: AbortSignal) {
    this.#stopped = stopped;
  }

  /** When nothing is under way any more. */
  async settled(): Promise<void> {
    await Promise.allSettled(this.#turns.values());
  }

  /** Whether a change of it is under way or waits. */
  changes(id: VolumeId): boolean {
    return this.#changes.has(keyOf(id));
  }

  /** Ends every change of it with US_STORAGE_ABORTED. */
  giveUp(id: VolumeId): void {
    for (const change of this.#changes.get(keyOf(id)) ?? []) change.abort(abortedError(id));
  }

  /** One change of a volume, in turn; an abort gives it up wherever it is. */
  async change<T>(
    id: VolumeId,
    signal: AbortSignal,
    job: (running: AbortSignal) => Promise<T>,
  ): Promise<T> {
    const key = keyOf(id);
    const controller = new AbortController();
    const changes = this.#changes.get(key) ?? new Set();
    this.#changes.set(key, changes.add(controller));
    // Not AbortSignal.any: on Node 20 it leaks with long-lived sources and loses short-lived ones.
    const sources = [signal, this.#stopped];
    const follow = () => controller.abort(sources.find(({ aborted }) => aborted)?.reason);
    for (const source of sources) {
      setMaxListeners(0, source);
      source.addEventListener('abort', follow, { once: true });
    }
    if (sources.some(({ aborted }) => aborted)) follow();
    try {
      return await this.turn(id, controller.signal, job);
    } finally {
      for (const source of sources) source.removeEventListener('abort', follow);
      changes.delete(controller);
      if (changes.size === 0) this.#changes.delete(key);
    }
  }

  async turn<T>(
    id: VolumeId,
    running: AbortSignal,
    job: (running: AbortSignal) => Promise<T>,
  ): Promise<T> {
    const key = keyOf(id);
    const before = this.#turns.get(key) ?? Promise.resolve();
    const turn = before
      .catch(() => {})
      .then(async () => {
        running.throwIfAborted();
        try {
          return await job(running);
        } catch (thrown) {
          // Why it was given up says more than what failed because of it.
          running.throwIfAborted();
          throw thrown;
        }
      });
    this.#turns.set(key, turn);
    try {
      return await turn;
    } finally {
      if (this.#turns.get(key) === turn) this.#turns.delete(key);
    }
  }
}

function keyOf({ personality, lun }: VolumeId): string {
  return `${personality}/${lun}`;
}

/** What of an attached volume says whether an order is for it. */
type Attached = Pick<AttachSpec, 'epoch' | 'target' | 'targetLun'>;

export function sameVolume(spec: AttachSpec, state: Attached): boolean {
  return (
    spec.epoch === state.epoch && spec.target === state.target && spec.targetLun === state.targetLun
  );
}

/** @throws {UnderstudyError} US_STORAGE_STALE_EPOCH */
export function refuseOlder(spec: AttachSpec, state: Attached): void {
  if (spec.epoch >= state.epoch) return;
  throw new UnderstudyError({
    code: 'US_STORAGE_STALE_EPOCH',
    action: 'cannot attach volume',
    object: `${spec.volume} to ${spec.personality} on ${spec.host}`,
    cause: `epoch ${spec.epoch} is over: it is attached for epoch ${state.epoch}`,
    remedy: 'nothing: the order was late',
  });
}

function abortedError({ personality, lun }: VolumeId): UnderstudyError {
  return new UnderstudyError({
    code: 'US_STORAGE_ABORTED',
    action: 'gave up work on',
    object: `LUN ${lun} of ${personality}`,
    cause: 'its epoch is lost: the data path was aborted',
    remedy: 'nothing: another host has the volume now',
  });
}
