import { randomUUID } from 'node:crypto';
import { setMaxListeners } from 'node:events';
import { mkdir, rm } from 'node:fs/promises';
import { messageOf, UnderstudyError } from '../errors.js';
import { attachedVolume, buildUp, type IdleProcess } from './build-up.js';
import { DiskProcess, endProcess } from './disk-process.js';
import { flushVolume } from './filesystem.js';
import { loadIscsi, type SessionLimits } from './iscsi-session.js';
import { type Log, silent } from './log.js';
import { type ReservedLoop, reapLoops, reserveLoop } from './loop-device.js';
import { probePortals } from './portal-probe.js';
import { fenceByReservation, keepReservation } from './reservation-fence.js';
import {
  assertVolumeId,
  Layout,
  listIdle,
  listVolumes,
  type VolumeId,
  type VolumeState,
} from './state.js';
import { inspect, killDataPath, kindOf, processOf, takeDown, tearDown } from './teardown.js';
import type { AttachedVolume, AttachSpec, Reserved, StorageAdapter } from './types.js';

export interface UserStorageOptions {
  /** Default /run/understudy. */
  readonly runDirectory?: string;
  readonly log?: Log;
  readonly limits?: SessionLimits;
  /** Disk processes kept ready once `warm` was called. Default 1. */
  readonly idleProcesses?: number;
}

const processStartMs = 5_000;

/**
 * Volumes on a kernel with no iSCSI initiator: libiscsi asks, a disk process carries the data, a
 * loop device makes it a disk, the kernel mounts it. What is attached survives this object and its
 * agent; the next one adopts it.
 */
export class UserStorage implements StorageAdapter {
  readonly #layout: Layout;
  readonly #log: Log;
  readonly #limits: SessionLimits | undefined;
  readonly #idleWanted: number;
  #idle: Promise<IdleProcess>[] = [];
  /** A block device kept ready, bound to nothing. */
  #loop: Promise<ReservedLoop> | undefined;
  /** One operation at a time for each volume. */
  readonly #turns = new Map<string, Promise<unknown>>();
  /** Changes asked for and not done, so that an abort need not wait for them. */
  readonly #changes = new Map<string, Set<AbortController>>();
  readonly #stopped = new AbortController();

  constructor(options: UserStorageOptions = {}) {
    this.#layout = new Layout(options.runDirectory ?? '/run/understudy');
    this.#log = options.log ?? silent;
    this.#limits = options.limits;
    this.#idleWanted = options.idleProcesses ?? 1;
  }

  /** Adopts what an earlier agent attached; takes down what it left half done. */
  async start(signal: AbortSignal): Promise<void> {
    await mkdir(this.#layout.disks, { recursive: true, mode: 0o700 });
    for (const token of await listIdle(this.#layout)) await this.#endIdle(token);
    await reapLoops();
    for (const { personality, lun, epoch } of await this.observe(signal)) {
      this.#log.info({ personality, lun, epoch }, `adopted LUN ${lun} of ${personality}`);
    }
  }

  /** Gives up what is under way. Attached volumes stay attached. */
  async stop(): Promise<void> {
    this.#stopped.abort(new Error('storage was stopped'));
    await Promise.allSettled(this.#turns.values());
    await this.#loop?.then((loop) => loop.release()).catch(() => {});
    const idle = await Promise.allSettled(this.#idle);
    this.#idle = [];
    for (const found of idle) {
      if (found.status === 'fulfilled') await discard(found.value);
    }
  }

  /**
   * Sees whether the portals answer, by TCP alone, and has a disk process and a block device ready,
   * with nothing behind them. No login, no read.
   *
   * @throws {UnderstudyError} US_STORAGE_UNREACHABLE, US_STORAGE_PORTAL
   */
  async warm(spec: AttachSpec, signal: AbortSignal): Promise<void> {
    loadIscsi();
    this.#fillIdle();
    await probePortals(spec, signal);
  }

  async fence(spec: AttachSpec, signal: AbortSignal): Promise<Reserved> {
    assertVolumeId(spec);
    return this.#change(spec, signal, async (running) => {
      const found = await inspect(this.#layout, spec);
      if (found.kind === 'whole') {
        refuseOlder(spec, found.state);
        const kept = sameVolume(spec, found.state)
          ? await keepReservation(spec, running, this.#limits)
          : undefined;
        if (kept !== undefined) return kept;
      }
      if (found.kind !== 'nothing') {
        // To register is to be let in: only who has nothing to write may.
        this.#log.warn({ ...keyed(spec) }, 'taken down before it is reserved anew');
        await tearDown(this.#layout, spec, this.#log);
      }
      return fenceByReservation(spec, running, this.#limits);
    });
  }

  async attach(spec: AttachSpec, signal: AbortSignal): Promise<AttachedVolume> {
    assertVolumeId(spec);
    return this.#change(spec, signal, async (running) => {
      const found = await inspect(this.#layout, spec);
      if (found.kind === 'whole') {
        refuseOlder(spec, found.state);
        if (sameVolume(spec, found.state)) return attachedVolume(found.state);
      }
      if (found.kind !== 'nothing') await tearDown(this.#layout, spec, this.#log);
      const steps: Record<string, number> = {};
      try {
        return await buildUp(
          {
            layout: this.#layout,
            spec,
            limits: this.#limits,
            takeProcess: () => this.#takeProcess(),
            takeLoop: (until) => this.#takeLoop(until),
            step: (name, tookMs) => {
              steps[name] = Math.round(tookMs * 10) / 10;
            },
          },
          running,
        );
      } catch (thrown) {
        this.#log.warn({ ...keyed(spec) }, `not attached: ${messageOf(thrown)}`);
        await tearDown(this.#layout, spec, this.#log);
        throw thrown;
      } finally {
        this.#log.debug({ ...keyed(spec), stepsMs: steps }, 'attach: where the time went');
        if (this.#idle.length > 0) this.#fillIdle();
      }
    });
  }

  /** @throws {UnderstudyError} US_STORAGE_FLUSH */
  async flush(personality: string, lun: number, signal: AbortSignal): Promise<void> {
    const id = { personality, lun };
    assertVolumeId(id);
    await this.#change(id, signal, async (running) => {
      const found = await inspect(this.#layout, id);
      if (found.kind !== 'whole') return;
      await flushVolume(found.state.hostMount, kindOf(found.state), running);
    });
  }

  /**
   * @throws {UnderstudyError} US_STORAGE_BUSY, US_STORAGE_UNMOUNT: then the volume is still attached
   */
  async detach(personality: string, lun: number, signal: AbortSignal): Promise<void> {
    const id = { personality, lun };
    assertVolumeId(id);
    await this.#change(id, signal, async (running) => {
      const found = await inspect(this.#layout, id);
      if (found.kind === 'whole') {
        await takeDown(this.#layout, found.state, this.#log, running);
        // Killed by an abort while it wrote back: gone, but not in order.
        running.throwIfAborted();
      } else if (found.kind === 'broken') {
        this.#log.warn({ ...id }, `cannot detach in order: ${found.reason}`);
        await tearDown(this.#layout, id, this.#log);
      }
    });
  }

  /** @throws {UnderstudyError} US_STORAGE_ABORT when the data path could not be ended */
  async abort(personality: string, lun: number, signal: AbortSignal): Promise<void> {
    const id = { personality, lun };
    assertVolumeId(id);
    for (const change of this.#changes.get(keyOf(id)) ?? []) change.abort(abortedError(id));
    // At once, not in turn: what is under way may be waiting for this very disk.
    await killDataPath(this.#layout, id);
    await this.#change(id, signal, async () => {
      const { kind } = await inspect(this.#layout, id);
      if (kind !== 'nothing') await tearDown(this.#layout, id, this.#log);
    });
  }

  /**
   * What is whole. What is not (its disk process was killed, somebody unmounted it) is taken down
   * by force on the way: its data path is of no use and must not linger.
   */
  async observe(signal: AbortSignal): Promise<readonly AttachedVolume[]> {
    const attached: AttachedVolume[] = [];
    for (const id of await listVolumes(this.#layout)) {
      // One that is being attached or detached is neither.
      if (this.#changes.has(keyOf(id))) continue;
      await this.#turn(id, signal, async () => {
        const found = await inspect(this.#layout, id);
        if (found.kind === 'whole') attached.push(attachedVolume(found.state));
        if (found.kind !== 'broken') return;
        this.#log.warn({ ...id }, `LUN ${id.lun} of ${id.personality} is lost: ${found.reason}`);
        await tearDown(this.#layout, id, this.#log);
      });
    }
    return attached;
  }

  /** One change of a volume, in turn; an abort gives it up wherever it is. */
  async #change<T>(
    id: VolumeId,
    signal: AbortSignal,
    job: (running: AbortSignal) => Promise<T>,
  ): Promise<T> {
    const key = keyOf(id);
    const controller = new AbortController();
    const changes = this.#changes.get(key) ?? new Set();
    this.#changes.set(key, changes.add(controller));
    // Not AbortSignal.any: on Node 20 it leaks with long-lived sources and loses short-lived ones.
    const sources = [signal, this.#stopped.signal];
    const follow = () => controller.abort(sources.find(({ aborted }) => aborted)?.reason);
    for (const source of sources) {
      setMaxListeners(0, source);
      source.addEventListener('abort', follow, { once: true });
    }
    if (sources.some(({ aborted }) => aborted)) follow();
    try {
      return await this.#turn(id, controller.signal, job);
    } finally {
      for (const source of sources) source.removeEventListener('abort', follow);
      changes.delete(controller);
      if (changes.size === 0) this.#changes.delete(key);
    }
  }

  async #turn<T>(
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

  async #takeProcess(): Promise<IdleProcess> {
    const ready = this.#idle.shift();
    const idle = await ready?.catch(() => undefined);
    if (idle?.process.alive) return idle;
    return this.#startProcess();
  }

  async #startProcess(): Promise<IdleProcess> {
    const directory = this.#layout.idle(randomUUID());
    try {
      const process = await DiskProcess.start(directory, processStartMs, this.#log);
      return { process, directory };
    } catch (thrown) {
      await rm(directory, { recursive: true, force: true });
      throw thrown;
    }
  }

  async #takeLoop(signal: AbortSignal): Promise<ReservedLoop> {
    const ready = this.#loop;
    this.#loop = undefined;
    return (await ready?.catch(() => undefined)) ?? reserveLoop(randomUUID(), signal);
  }

  #fillIdle(): void {
    if (this.#loop === undefined && !this.#stopped.signal.aborted) {
      this.#loop = reserveLoop(randomUUID(), this.#stopped.signal);
      // Then it is made when it is needed, and whoever needs it hears why it cannot be.
      this.#loop.catch(() => {});
    }
    while (this.#idle.length < this.#idleWanted && !this.#stopped.signal.aborted) {
      const started = this.#startProcess();
      started.catch((thrown: unknown) => {
        this.#idle = this.#idle.filter((entry) => entry !== started);
        this.#log.warn({}, messageOf(thrown));
      });
      this.#idle.push(started);
    }
  }

  async #endIdle(token: string): Promise<void> {
    const directory = this.#layout.idle(token);
    const process = await processOf(directory);
    if (process !== undefined) await endProcess(process, 'SIGKILL', 1_000);
    await rm(directory, { recursive: true, force: true });
  }
}

function keyOf({ personality, lun }: VolumeId): string {
  return `${personality}/${lun}`;
}

function keyed({ personality, lun, epoch }: AttachSpec) {
  return { personality, lun, epoch };
}

function sameVolume(spec: AttachSpec, state: VolumeState): boolean {
  return (
    spec.epoch === state.epoch && spec.target === state.target && spec.targetLun === state.targetLun
  );
}

function refuseOlder(spec: AttachSpec, state: VolumeState): void {
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

async function discard({ process, directory }: IdleProcess): Promise<void> {
  process.leave();
  await endProcess(process.identity, 'SIGKILL', 1_000);
  await rm(directory, { recursive: true, force: true });
}
