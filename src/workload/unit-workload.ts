import { mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { UnderstudyError } from '../errors.js';
import { endAll } from './ending.js';
import { enterScript } from './enter.js';
import { Records, type WorkloadRecord } from './record.js';
import { requireSystemd, type Systemctl, systemctl } from './systemctl.js';
import type { ObservedWorkload, WorkloadAdapter, WorkloadSpec } from './types.js';
import { dropInMark, unitDropIn } from './unit-dropin.js';

export interface UnitWorkloadOptions {
  /** Default /run/understudy. */
  readonly runDirectory?: string;
  /** Default /etc/systemd/system: the drop-in must outlive a reboot, see unitDropIn. */
  readonly unitDirectory?: string;
  readonly systemctl?: Systemctl;
}

const quickMs = 10_000;
/** systemd's own DefaultTimeoutStartSec= and DefaultTimeoutStopSec= are 90 s. */
const startStopMs = 100_000;

/**
 * The user's own systemd unit as workload. systemd starts it anew when it dies, as its Restart=
 * says; Understudy only puts it into the personality, starts it and stops it.
 */
export class UnitWorkload implements WorkloadAdapter {
  readonly #records: Records;
  readonly #runDirectory: string;
  readonly #unitDirectory: string;
  readonly #control: Systemctl;
  readonly #known = new Map<string, WorkloadRecord>();

  constructor(options: UnitWorkloadOptions = {}) {
    this.#runDirectory = options.runDirectory ?? '/run/understudy';
    this.#unitDirectory = options.unitDirectory ?? '/etc/systemd/system';
    this.#control = options.systemctl ?? systemctl;
    this.#records = new Records(this.#runDirectory);
  }

  async start(_signal: AbortSignal): Promise<void> {
    // What cannot be read is reported by CommandWorkload, which reads the same files.
    for (const record of this.#records.all(() => {})) {
      if (record.spec.workload.kind === 'unit') this.#known.set(record.spec.personality, record);
    }
  }

  async stop(): Promise<void> {
    this.#known.clear();
  }

  /**
   * Writes the drop-in of an eligible host, ahead of any failover; starts nothing.
   *
   * @throws US_WORKLOAD_NO_SYSTEMD, US_WORKLOAD_FOREIGN_DROPIN, US_WORKLOAD_SPEC
   */
  async prepare(spec: WorkloadSpec, signal: AbortSignal): Promise<void> {
    requireSystemd(this.#control, spec.personality);
    if (this.#writeDropIn(spec)) await this.#control.run(['daemon-reload'], quickMs, signal);
  }

  async ensure(spec: WorkloadSpec, signal: AbortSignal): Promise<void> {
    const unit = unitOf(spec);
    const known = this.#known.get(spec.personality);
    if (known !== undefined && JSON.stringify(known.spec) !== JSON.stringify(spec)) {
      await this.remove(spec.personality, signal);
    }
    await this.prepare(spec, signal);
    // Before the start: what a dead agent had started must be found by the next one.
    const record = { spec, process: null };
    this.#known.set(spec.personality, record);
    this.#records.write(record);
    this.#records.writeFile(
      `${spec.personality}.enter`,
      enterScript(spec, this.#runDirectory, null),
    );
    await this.#start(unit, signal);
  }

  /** After a failure systemd's count of starts (StartLimitBurst=) begins anew: we pace them ourselves. */
  async #start(unit: string, signal: AbortSignal): Promise<void> {
    try {
      await this.#control.run(['start', unit], startStopMs, signal);
    } catch (thrown) {
      await this.#resetFailed(unit, signal);
      throw thrown;
    }
  }

  async #resetFailed(unit: string, signal: AbortSignal): Promise<void> {
    await this.#control.run(['reset-failed', unit], quickMs, signal).catch(() => '');
  }

  async remove(personality: string, signal: AbortSignal): Promise<void> {
    const record = this.#known.get(personality);
    if (record === undefined) return;
    await this.#control.run(['stop', unitOf(record.spec)], startStopMs, signal);
    await this.#forget(record);
  }

  async abort(personality: string, signal: AbortSignal): Promise<void> {
    const record = this.#known.get(personality);
    if (record === undefined) return;
    const unit = unitOf(record.spec);
    // `kill` fails where nothing runs; `stop` keeps Restart= from starting it again.
    await this.#control.run(['kill', '--signal=SIGKILL', unit], quickMs, signal).catch(() => '');
    const stopped = this.#control.run(['stop', unit], quickMs, signal);
    // Whatever becomes of systemctl, its processes end now.
    await Promise.all([stopped, endAll(record, 0)]);
    // It did not fail: we ended it.
    await this.#resetFailed(unit, signal);
    await this.#forget(record);
  }

  async observe(signal: AbortSignal): Promise<readonly ObservedWorkload[]> {
    return Promise.all([...this.#known.values()].map(({ spec }) => this.#look(spec, signal)));
  }

  /** The drop-in stays: without it, a unit that is enabled would start outside its personality. */
  async #forget(record: WorkloadRecord): Promise<void> {
    await endAll(record, 0);
    this.#known.delete(record.spec.personality);
    this.#records.remove(record.spec.personality);
  }

  async #look(spec: WorkloadSpec, signal: AbortSignal): Promise<ObservedWorkload> {
    const properties = 'ActiveState,MainPID,NRestarts,Result';
    const args = ['show', `--property=${properties}`, unitOf(spec)];
    const shown = parseProperties(await this.#control.run(args, quickMs, signal));
    const pid = Number(shown.get('MainPID') ?? 0);
    const state = shown.get('ActiveState');
    return {
      personality: spec.personality,
      epoch: spec.epoch,
      kind: 'unit',
      state: state === 'active' ? 'running' : state === 'failed' ? 'failed' : 'backing-off',
      pid: pid > 0 ? pid : undefined,
      restarts: Number(shown.get('NRestarts') ?? 0),
      lastEnd: shown.get('Result') === 'success' ? '' : (shown.get('Result') ?? ''),
    };
  }

  /** Returns whether something changed on disk. */
  #writeDropIn(spec: WorkloadSpec): boolean {
    const directory = join(this.#unitDirectory, `${unitOf(spec)}.d`);
    const path = join(directory, '50-understudy.conf');
    const text = unitDropIn(spec);
    const present = readIfThere(path);
    if (present === text) return false;
    if (present !== undefined && !present.startsWith(dropInMark)) throw foreign(spec, path);
    mkdirSync(directory, { recursive: true, mode: 0o755 });
    writeFileSync(`${path}.new`, text, { mode: 0o644 });
    renameSync(`${path}.new`, path);
    return true;
  }
}

/** The unit's name, checked: it becomes a path and an argument. */
function unitOf({ personality, workload }: WorkloadSpec): string {
  if (
    workload.kind === 'unit' &&
    /^[A-Za-z0-9_][A-Za-z0-9:_.@\\-]*\.service$/.test(workload.unit)
  ) {
    return workload.unit;
  }
  throw new UnderstudyError({
    code: 'US_WORKLOAD_SPEC',
    action: 'cannot run the workload of',
    object: personality,
    cause: `${JSON.stringify(workload)} names no service unit`,
    remedy: 'write workload: {unit: NAME.service}',
  });
}

function foreign(spec: WorkloadSpec, path: string): UnderstudyError {
  return new UnderstudyError({
    code: 'US_WORKLOAD_FOREIGN_DROPIN',
    action: 'cannot prepare the unit of',
    object: spec.personality,
    cause: `${path} is there and was not written by understudy`,
    remedy: 'rename that file',
  });
}

function readIfThere(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return undefined;
  }
}

/** `systemctl show` prints NAME=VALUE lines. */
function parseProperties(text: string): ReadonlyMap<string, string> {
  return new Map(
    text.split('\n').map((line): [string, string] => {
      const at = line.indexOf('=');
      return [line.slice(0, at), line.slice(at + 1)];
    }),
  );
}
