import { randomUUID } from 'node:crypto';
import { mkdir, rm } from 'node:fs/promises';
import { messageOf } from '../errors.js';
import { attachedVolume, buildUp, type IdleProcess } from './build-up.js';
import { DiskProcess, endProcess } from './disk-process.js';
import { flushVolume } from './filesystem.js';
import { loadIscsi, type SessionLimits } from './iscsi-session.js';
import { type Log, silent } from './log.js';
import { type ReservedLoop, reapLoops, reserveLoop } from './loop-device.js';
import { probePortals } from './portal-probe.js';
import { fenceByReservation, keepReservation } from './reservation-fence.js';
import { assertVolumeId, Layout, listIdle, listVolumes, refuseOtherBackend } from './state.js';
import { inspect, killDataPath, kindOf, processOf, takeDown, tearDown } from './teardown.js';
import type { AttachedVolume, AttachSpec, Reserved, StorageAdapter } from './types.js';
import { refuseOlder, sameVolume, VolumeTurns } from './volume-turns.js';

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
  readonly #stopped = new AbortController();
  readonly #turns = new VolumeTurns(this.#stopped.signal);

  constructor(options: UserStorageOptions = {}) {
    this.#layout = new Layout(options.runDirectory ?? '/run/understudy');
    this.#log = options.log ?? silent;
    this.#limits = options.limits;
    this.#idleWanted = options.idleProcesses ?? 1;
  }

  /**
   * Adopts what an earlier agent attached; takes down what it left half done.
   *
   * @throws {UnderstudyError} US_STORAGE_BACKEND
   */
  async start(signal: AbortSignal): Promise<void> {
    await mkdir(this.#layout.disks, { recursive: true, mode: 0o700 });
    await refuseOtherBackend(this.#layout, 'user');
    for (const token of await listIdle(this.#layout)) await this.#endIdle(token);
    await reapLoops();
    for (const { personality, lun, epoch } of await this.observe(signal)) {
      this.#log.info({ personality, lun, epoch }, `adopted LUN ${lun} of ${personality}`);
    }
  }

  /** Gives up what is under way. Attached volumes stay attached. */
  async stop(): Promise<void> {
    this.#stopped.abort(new Error('storage was stopped'));
    await this.#turns.settled();
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
    return this.#turns.change(spec, signal, async (running) => {
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
    return this.#turns.change(spec, signal, async (running) => {
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
    await this.#turns.change(id, signal, async (running) => {
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
    await this.#turns.change(id, signal, async (running) => {
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
    this.#turns.giveUp(id);
    // At once, not in turn: what is under way may be waiting for this very disk.
    await killDataPath(this.#layout, id);
    await this.#turns.change(id, signal, async () => {
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
      if (this.#turns.changes(id)) continue;
      await this.#turns.turn(id, signal, async () => {
        const found = await inspect(this.#layout, id);
        if (found.kind === 'whole') attached.push(attachedVolume(found.state));
        if (found.kind !== 'broken') return;
        this.#log.warn({ ...id }, `LUN ${id.lun} of ${id.personality} is lost: ${found.reason}`);
        await tearDown(this.#layout, id, this.#log);
      });
    }
    return attached;
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

function keyed({ personality, lun, epoch }: AttachSpec) {
  return { personality, lun, epoch };
}

async function discard({ process, directory }: IdleProcess): Promise<void> {
  process.leave();
  await endProcess(process.identity, 'SIGKILL', 1_000);
  await rm(directory, { recursive: true, force: true });
}
