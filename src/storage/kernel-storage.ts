import { mkdir } from 'node:fs/promises';
import { messageOf, type UnderstudyError } from '../errors.js';
import { flushVolume } from './filesystem.js';
import { loadIscsi, type SessionLimits } from './iscsi-session.js';
import { logOut } from './iscsiadm.js';
import { attachByKernel } from './kernel-attach.js';
import { fenceByKernel, keepByKernel } from './kernel-fence.js';
import { allMaps, dropMap } from './kernel-map.js';
import { disksOf, kernelSessions, takeOffline } from './kernel-sessions.js';
import {
  attachedByKernel,
  interfaceName,
  interfacePrefix,
  type KernelState,
} from './kernel-state.js';
import { endSession, inspectKernel, takeDownKernel, tearDownKernel } from './kernel-teardown.js';
import { type Log, silent } from './log.js';
import { PathKeeper } from './path-keeper.js';
import { probePortals } from './portal-probe.js';
import { SessionKeeper } from './session-keeper.js';
import { assertVolumeId, Layout, listVolumes, refuseOtherBackend, type VolumeId } from './state.js';
import {
  type AttachedVolume,
  type AttachSpec,
  isOwnName,
  type Reserved,
  type StorageAdapter,
} from './types.js';
import { refuseOlder, sameVolume, VolumeTurns } from './volume-turns.js';

export interface KernelStorageOptions {
  /** Default /run/understudy. */
  readonly runDirectory?: string;
  readonly log?: Log;
  readonly limits?: SessionLimits;
}

/**
 * Volumes by the kernel's own iSCSI initiator: open-iscsi logs in, the kernel carries the data, and no
 * process of ours is in its way. What is attached survives this object and its agent; the next one adopts it.
 *
 * Only sessions with our interface records are ever touched.
 */
export class KernelStorage implements StorageAdapter {
  readonly #layout: Layout;
  readonly #log: Log;
  readonly #limits: SessionLimits | undefined;
  readonly #stopped = new AbortController();
  readonly #turns = new VolumeTurns(this.#stopped.signal);
  /** Volumes whose data path is being ended, by the name of their interface record. */
  readonly #ending = new Set<string>();
  readonly #paths: PathKeeper;
  readonly #sessions: SessionKeeper;

  constructor(options: KernelStorageOptions = {}) {
    this.#layout = new Layout(options.runDirectory ?? '/run/understudy');
    this.#log = options.log ?? silent;
    this.#limits = options.limits;
    this.#paths = new PathKeeper({
      layout: this.#layout,
      log: this.#log,
      undisturbed: (id, job) => this.#undisturbed(id, job),
    });
    this.#sessions = new SessionKeeper({
      layout: this.#layout,
      log: this.#log,
      ending: (name) => this.#ending.has(name),
    });
  }

  /**
   * Adopts what an earlier agent attached; takes down what it left half done, and sessions of ours that no
   * volume knows of.
   *
   * @throws {UnderstudyError} US_STORAGE_BACKEND
   */
  async start(signal: AbortSignal): Promise<void> {
    await mkdir(this.#layout.disks, { recursive: true, mode: 0o700 });
    await refuseOtherBackend(this.#layout, 'kernel');
    await this.#reap();
    await this.#forgetFenced();
    for (const { personality, lun, epoch } of await this.observe(signal)) {
      this.#log.info({ personality, lun, epoch }, `adopted LUN ${lun} of ${personality}`);
    }
    this.#paths.start();
    this.#sessions.start();
  }

  /** Gives up what is under way. Attached volumes stay attached. */
  async stop(): Promise<void> {
    this.#stopped.abort(new Error('storage was stopped'));
    await Promise.all([this.#paths.stop(), this.#sessions.stop()]);
    await this.#turns.settled();
  }

  /**
   * Sees whether the portals answer, by TCP alone. No login, no read.
   *
   * @throws {UnderstudyError} US_STORAGE_UNREACHABLE, US_STORAGE_PORTAL
   */
  async warm(spec: AttachSpec, signal: AbortSignal): Promise<void> {
    loadIscsi();
    await probePortals(spec, signal);
  }

  async fence(spec: AttachSpec, signal: AbortSignal): Promise<Reserved> {
    assertVolumeId(spec);
    const job = { layout: this.#layout, spec, limits: this.#limits };
    return this.#turns.change(spec, signal, async (running) => {
      const found = await inspectKernel(this.#layout, spec);
      if (found.kind === 'whole' || found.kind === 'fenced') {
        refuseOlder(spec, found.state);
        const kept = sameVolume(spec, found.state)
          ? await keepByKernel(job, found.state, running)
          : undefined;
        if (kept !== undefined) return kept;
      }
      if (found.kind !== 'nothing') {
        // To register is to be let in: only who has nothing to write may.
        const { personality, lun, epoch } = spec;
        this.#log.warn({ personality, lun, epoch }, 'taken down before it is reserved anew');
        await tearDownKernel(this.#layout, spec);
      }
      return this.#undoing(spec, () => fenceByKernel(job, running));
    });
  }

  async attach(spec: AttachSpec, signal: AbortSignal): Promise<AttachedVolume> {
    assertVolumeId(spec);
    return this.#turns.change(spec, signal, async (running) => {
      const found = await inspectKernel(this.#layout, spec);
      if (found.kind === 'whole') {
        refuseOlder(spec, found.state);
        if (sameVolume(spec, found.state)) return attachedByKernel(found.state);
      }
      const fenced =
        found.kind === 'fenced' && sameVolume(spec, found.state) ? found.state : undefined;
      if (found.kind !== 'nothing' && fenced === undefined) {
        await tearDownKernel(this.#layout, spec);
      }
      return this.#attach(spec, fenced, running);
    });
  }

  async #attach(
    spec: AttachSpec,
    fenced: KernelState | undefined,
    running: AbortSignal,
  ): Promise<AttachedVolume> {
    const { personality, lun, epoch } = spec;
    const steps: Record<string, number> = {};
    const step = (name: string, tookMs: number) => {
      steps[name] = Math.round(tookMs * 10) / 10;
    };
    const job = { layout: this.#layout, spec, limits: this.#limits, fenced, step };
    try {
      return await this.#undoing(spec, () => attachByKernel(job, running));
    } finally {
      this.#log.debug({ personality, lun, epoch, stepsMs: steps }, 'attach: where the time went');
    }
  }

  /** What failed half way is taken down. */
  async #undoing<T>(spec: AttachSpec, work: () => Promise<T>): Promise<T> {
    const { personality, lun, epoch } = spec;
    try {
      return await work();
    } catch (thrown) {
      this.#log.warn({ personality, lun, epoch }, `not attached: ${messageOf(thrown)}`);
      await tearDownKernel(this.#layout, spec);
      throw thrown;
    }
  }

  /** @throws {UnderstudyError} US_STORAGE_FLUSH */
  async flush(personality: string, lun: number, signal: AbortSignal): Promise<void> {
    const id = { personality, lun };
    assertVolumeId(id);
    await this.#turns.change(id, signal, async (running) => {
      const found = await inspectKernel(this.#layout, id);
      if (found.kind !== 'whole') return;
      await flushVolume(found.state.hostMount, found.state.kind, running);
    });
  }

  /**
   * @throws {UnderstudyError} US_STORAGE_BUSY, US_STORAGE_FLUSH, US_STORAGE_UNMOUNT: then the volume is
   * still attached; US_STORAGE_LOGOUT
   */
  async detach(personality: string, lun: number, signal: AbortSignal): Promise<void> {
    const id = { personality, lun };
    assertVolumeId(id);
    await this.#turns.change(id, signal, async (running) => {
      const found = await inspectKernel(this.#layout, id);
      if (found.kind === 'whole') {
        await takeDownKernel(this.#layout, found.state, this.#log, running);
        running.throwIfAborted();
      } else if (found.kind !== 'nothing') {
        if (found.kind === 'broken') {
          this.#log.warn({ ...id }, `cannot detach in order: ${found.reason}`);
        }
        await tearDownKernel(this.#layout, id);
      }
    });
  }

  /** @throws {UnderstudyError} US_STORAGE_ABORT when the data path could not be ended */
  async abort(personality: string, lun: number, signal: AbortSignal): Promise<void> {
    const id = { personality, lun };
    assertVolumeId(id);
    this.#turns.giveUp(id);
    // At once, not in turn: what is under way may be waiting for this very disk. Whether it worked counts
    // below, since a login that is just under way has no session yet that could be ended.
    const key = interfaceName(this.#layout, id);
    this.#ending.add(key);
    try {
      await endSession(this.#layout, id).catch((thrown: unknown) => {
        this.#log.warn({ ...id }, messageOf(thrown));
      });
      await this.#turns.change(id, signal, async () => {
        const { kind } = await inspectKernel(this.#layout, id);
        if (kind !== 'nothing') await tearDownKernel(this.#layout, id);
      });
    } finally {
      this.#ending.delete(key);
    }
  }

  /** What is whole. What is not is taken down by force on the way. */
  async observe(signal: AbortSignal): Promise<readonly AttachedVolume[]> {
    const attached: AttachedVolume[] = [];
    for (const id of await listVolumes(this.#layout)) {
      // One that is being attached or detached is neither.
      if (this.#turns.changes(id)) continue;
      await this.#turns.turn(id, signal, async () => {
        const found = await inspectKernel(this.#layout, id);
        if (found.kind === 'whole') attached.push(attachedByKernel(found.state));
        if (found.kind !== 'broken') return;
        this.#log.warn({ ...id }, `LUN ${id.lun} of ${id.personality} is lost: ${found.reason}`);
        await tearDownKernel(this.#layout, id);
      });
    }
    return attached;
  }

  trouble(personality: string, lun: number): UnderstudyError | undefined {
    return this.#sessions.trouble({ personality, lun });
  }

  async #undisturbed(id: VolumeId, job: (mayStill: () => boolean) => Promise<void>): Promise<void> {
    const mayStill = () =>
      !this.#turns.changes(id) && !this.#ending.has(interfaceName(this.#layout, id));
    if (!mayStill()) return;
    await this.#turns.turn(id, this.#stopped.signal, () => job(mayStill));
  }

  /** What an earlier agent reserved and did not come to attach: it is reserved anew. */
  async #forgetFenced(): Promise<void> {
    for (const id of await listVolumes(this.#layout)) {
      const { kind } = await inspectKernel(this.#layout, id);
      if (kind === 'fenced') await tearDownKernel(this.#layout, id);
    }
  }

  /** Sessions with our interface records whose volume has no folder: their records went with an agent. */
  async #reap(): Promise<void> {
    const known = new Set(
      (await listVolumes(this.#layout)).map((id) => interfaceName(this.#layout, id)),
    );
    const knownMaps = [...known].map((name) => `${name}.`);
    for (const map of await allMaps()) {
      if (!map.name.startsWith(interfacePrefix(this.#layout))) continue;
      if (knownMaps.some((name) => map.name.startsWith(name))) continue;
      this.#log.warn({ map: map.name }, `${map.name} is nobody's: removed`);
      await dropMap(map);
    }
    for (const session of await kernelSessions()) {
      const tagged = session.interface.startsWith(interfacePrefix(this.#layout));
      const ours = tagged && isOwnName(session.initiator);
      if (!ours || known.has(session.interface)) continue;
      this.#log.warn({ session: session.name }, `${session.interface} is nobody's: logged out`);
      await Promise.all((await disksOf(session.name)).map(takeOffline));
      await logOut(this.#layout.orphans, session);
    }
  }
}
