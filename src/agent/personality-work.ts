import { volumeKey } from '../control/keys.js';
import type { VolumeReport } from '../control/records.js';
import { configOf } from '../control/view.js';
import { within } from '../deadline.js';
import { messageOf } from '../errors.js';
import { preparedEpoch } from '../network/types.js';
import { keyText, reservationKey } from '../storage/reservation-key.js';
import type { AttachedVolume, AttachSpec } from '../storage/types.js';
import { fence, keepFence } from './fenced.js';
import { flushAhead } from './flush-ahead.js';
import { handOver, letNextGoFirst } from './hand-over.js';
import { StepTimer } from './journal.js';
import type { RoleParts } from './role-parts.js';
import { attachSpecs, nicsOf, personalityNamespace } from './specs.js';
import type { RoleWork } from './task.js';
import { put } from './transactions.js';
import { workloadSpec } from './workload-spec.js';

/** A volume that left the file is masked already: its last writes may wait for ever. */
const detachBudgetMs = 5_000;
const removeBudgetMs = 5_000;

/** A personality on this host: namespace and NICs, volumes, announcement, workload. */
export class PersonalityWork implements RoleWork {
  readonly #name: string;
  readonly #parts: RoleParts;
  #volumes: readonly VolumeReport[] = [];
  /** Epoch whose takeover is complete; later calls only repair. */
  #complete: number | undefined;
  /** NICs as they were announced last. */
  #announced = '';

  constructor(name: string, parts: RoleParts) {
    this.#name = name;
    this.#parts = parts;
  }

  get volumes(): readonly VolumeReport[] {
    return this.#volumes;
  }

  /**
   * Network and storage side by side; the announcement only when both are there, so that no packet
   * is drawn to a host that cannot serve it yet; then the workload.
   */
  async take(
    epoch: number,
    incarnation: number,
    failover: string | null,
    signal: AbortSignal,
  ): Promise<void> {
    const { clock, watch, hurry } = this.#parts;
    const timer = new StepTimer(clock);
    const first = this.#complete !== epoch;
    const quiet = first && this.#hasVolumes();
    // A client waits for it.
    const calm = first ? hurry.begin() : () => undefined;
    try {
      await bothDone(
        timer.time('network', () => this.#network(epoch, incarnation, quiet, signal)),
        this.#storage(epoch, timer, signal),
      );
      if (first) {
        await timer.time('announce', async () => {
          if (quiet) await this.#raise(epoch, incarnation, signal);
          await this.#announce(signal);
        });
      } else if (this.#announced !== this.#nicsText()) {
        // Another vMAC or address: who knows the old one must hear of it.
        await this.#announce(signal);
      }
      calm();
      await timer.time('workload', () => this.#workload(epoch, signal));
      if (!first) await this.#detachSurplus(signal);
      this.#complete = epoch;
      if (first && failover !== null) this.#record(failover, timer, 'ok');
      if (first) this.#parts.journal.event('running', this.#name, this.#summary(epoch, timer));
    } catch (thrown) {
      if (first && failover !== null && !signal.aborted) {
        this.#record(failover, timer, 'failed', messageOf(thrown));
      }
      throw thrown;
    } finally {
      calm();
    }
    // What the file says may have changed while this ran.
    if (configOf(watch.view) === undefined) return;
  }

  /**
   * Networks, namespace and NICs, guarded and down, so that a takeover only has to bring them up;
   * and the way to the disks, as far as it may be made before the fence.
   */
  async prepare(incarnation: number, signal: AbortSignal): Promise<void> {
    const { watch, network, forwarding } = this.#parts;
    const config = configOf(watch.view);
    if (config === undefined) return;
    for (const nic of nicsOf(config, { kind: 'personality', name: this.#name })) {
      await forwarding.prepare(nic.network, signal);
    }
    const spec = personalityNamespace(config, this.#name, preparedEpoch, incarnation);
    await network.ensureNamespace({ ...spec, quiet: true }, signal);
  }

  async release(signal: AbortSignal): Promise<void> {
    const { workload, storage, network, announcer } = this.#parts;
    await flushAhead(this.#name, this.#volumes, this.#parts, signal);
    announcer.end(this.#name);
    await workload.remove(this.#name, signal);
    for (const { lun } of await this.#attached(signal)) {
      await storage.detach(this.#name, lun, signal);
    }
    // Taking devices away takes the kernel a while: the successor need not wait for that.
    await network.silence(this.#name, signal);
    this.#forget();
  }

  /** Data path first: whatever is still writing must not reach the disk (design: storage). */
  async abort(signal: AbortSignal): Promise<void> {
    const { workload, storage, network, announcer } = this.#parts;
    announcer.end(this.#name);
    const volumes = await this.#attached(signal);
    await Promise.all([
      workload.abort(this.#name, signal),
      ...volumes.map(({ lun }) => storage.abort(this.#name, lun, signal)),
    ]);
    await network.removeNamespace(this.#name, signal);
    this.#forget();
  }

  async handOver(drainStartedMs: number): Promise<void> {
    const role = { kind: 'personality', name: this.#name } as const;
    const { network, timers } = this.#parts;
    try {
      await handOver(role, drainStartedMs, this.#parts);
    } catch (thrown) {
      // If the role stays here after all, its NICs must not be heard before the disks are there again.
      await network.removeNamespace(this.#name, within(removeBudgetMs, undefined, timers));
      throw thrown;
    }
    await letNextGoFirst(role, this.#parts);
  }

  #hasVolumes(): boolean {
    const config = configOf(this.#parts.watch.view);
    const personality = config?.personalities.find(({ name }) => name === this.#name);
    return personality !== undefined && personality.storage.length > 0;
  }

  /** `quiet`: all but up, so that nobody hears of it before the disks are there. */
  async #network(
    epoch: number,
    incarnation: number,
    quiet: boolean,
    signal: AbortSignal,
  ): Promise<void> {
    const { watch, network, forwarding } = this.#parts;
    const config = configOf(watch.view);
    if (config === undefined) return;
    const spec = personalityNamespace(config, this.#name, epoch, incarnation);
    const networks = spec.nics.map((nic) => nic.network);
    const entries = async () => {
      for (const name of networks) await forwarding.ensure(name, signal);
    };
    try {
      if (this.#complete === epoch || !networks.every((name) => forwarding.has(name))) {
        await entries();
        await network.ensureNamespace({ ...spec, quiet }, signal);
        return;
      }
      // The devices are there: their entries and the NICs on them are made side by side, then all goes up.
      await bothDone(entries(), network.ensureNamespace({ ...spec, quiet: true }, signal));
      if (!quiet) await network.raise(spec, signal);
    } catch (thrown) {
      for (const name of networks) forwarding.doubt(name);
      throw thrown;
    }
  }

  async #raise(epoch: number, incarnation: number, signal: AbortSignal): Promise<void> {
    const { watch, network } = this.#parts;
    const config = configOf(watch.view);
    if (config === undefined) return;
    await network.raise(personalityNamespace(config, this.#name, epoch, incarnation), signal);
  }

  async #storage(epoch: number, timer: StepTimer, signal: AbortSignal): Promise<void> {
    const { watch, host } = this.#parts;
    const config = configOf(watch.view);
    if (config === undefined) return;
    const specs = attachSpecs(watch.view, config, this.#name, host, epoch);
    if (specs.length === 0) {
      this.#volumes = [];
      return;
    }
    if (this.#complete !== epoch) {
      await timer.time(
        'fence',
        () => fence(this.#name, epoch, specs, this.#parts, signal),
        (how) => how,
      );
    } else {
      await keepFence(specs, this.#parts, signal);
    }
    const attached = await timer.time('storage', () =>
      Promise.all(specs.map((spec) => this.#attach(spec, signal))),
    );
    this.#volumes = specs.flatMap((spec, index) => {
      const volume = attached[index];
      return volume === undefined ? [] : [this.#volumeReport(spec, volume)];
    });
  }

  async #attach(spec: AttachSpec, signal: AbortSignal): Promise<AttachedVolume> {
    const { storage, store, journal } = this.#parts;
    const volume = await storage.attach(spec, signal);
    if (spec.recordedSerial === undefined) {
      const key = volumeKey(spec.volume);
      await store.transact({
        compare: [{ kind: 'absent', key }],
        write: [put(key, { serial: volume.serial })],
      });
      journal.event('volume', spec.volume, `serial ${volume.serial} recorded at first attach`);
    }
    return volume;
  }

  async #announce(signal: AbortSignal): Promise<void> {
    const { watch, announcer } = this.#parts;
    const config = configOf(watch.view);
    if (config === undefined) return;
    const nics = nicsOf(config, { kind: 'personality', name: this.#name });
    await announcer.begin({ name: this.#name, nics }, config.timing.announceRefreshMs, signal);
    this.#announced = JSON.stringify(nics);
  }

  #nicsText(): string {
    const config = configOf(this.#parts.watch.view);
    if (config === undefined) return this.#announced;
    return JSON.stringify(nicsOf(config, { kind: 'personality', name: this.#name }));
  }

  /** Volumes that the file took away, once the workload does without them. */
  async #detachSurplus(signal: AbortSignal): Promise<void> {
    const { storage, log } = this.#parts;
    const wanted = new Set(this.#volumes.map(({ lun }) => lun));
    for (const { lun } of await this.#attached(signal)) {
      if (wanted.has(lun)) continue;
      try {
        await storage.detach(this.#name, lun, within(detachBudgetMs, signal));
      } catch (thrown) {
        signal.throwIfAborted();
        log.warn({ personality: this.#name, lun }, `cut off instead: ${messageOf(thrown)}`);
        await storage.abort(this.#name, lun, within(detachBudgetMs, signal));
      }
    }
  }

  async #workload(epoch: number, signal: AbortSignal): Promise<void> {
    const config = configOf(this.#parts.watch.view);
    if (config === undefined) return;
    const spec = workloadSpec(config, this.#name, epoch, this.#parts);
    if (spec !== undefined) await this.#parts.workload.ensure(spec, signal);
  }

  #volumeReport(spec: AttachSpec, volume: AttachedVolume): VolumeReport {
    const personality = configOf(this.#parts.watch.view)?.personalities.find(
      ({ name }) => name === this.#name,
    );
    return {
      name: spec.volume,
      lun: spec.lun,
      device: volume.device,
      mount: personality?.storage.find(({ lun }) => lun === spec.lun)?.mount ?? '',
      portal: spec.portals[0] ?? '',
      target: spec.target,
      targetLun: spec.targetLun,
      serial: volume.serial,
      sizeBytes: volume.sizeBytes,
      // It was seen to be so, or nothing would have been attached.
      ...(spec.fence === 'reservation' ? { reservation: keyText(reservationKey(spec)) } : {}),
    };
  }

  async #attached(signal: AbortSignal): Promise<readonly AttachedVolume[]> {
    const all = await this.#parts.storage.observe(signal);
    return all.filter(({ personality }) => personality === this.#name);
  }

  #forget(): void {
    this.#volumes = [];
    this.#complete = undefined;
    this.#announced = '';
  }

  #record(failover: string, timer: StepTimer, outcome: 'ok' | 'failed', detail?: string): void {
    const { journal, host, bootId, deliveries } = this.#parts;
    const { steps } = timer;
    const heardMs = deliveries.heardMs(failover);
    const base = { host, bootId, heardMs, steps, outcome };
    journal.steps(failover, 'owner', detail === undefined ? base : { ...base, detail });
  }

  #summary(epoch: number, timer: StepTimer): string {
    const took = timer.steps.map(
      ({ name, startMs, endMs }) => `${name} ${Math.round(endMs - startMs)} ms`,
    );
    return `epoch ${epoch} runs on ${this.#parts.host} (${took.join(', ')})`;
  }
}

/** Neither is under way any more when this returns or throws. */
async function bothDone(one: Promise<void>, other: Promise<void>): Promise<void> {
  const ended = await Promise.allSettled([one, other]);
  for (const end of ended) if (end.status === 'rejected') throw end.reason;
}
