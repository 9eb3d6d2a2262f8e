import { messageOf } from '../errors.js';
import type { WorkloadLog } from './command-runner.js';
import { DropIns } from './drop-ins.js';
import { endAll } from './ending.js';
import { enterScript } from './enter.js';
import { FailureCounts } from './failure-counts.js';
import { Records, type WorkloadRecord } from './record.js';
import { standsOn } from './stands-on.js';
import { requireSystemd, type Systemctl, systemctl } from './systemctl.js';
import type {
  FailureListener,
  ObservedWorkload,
  WorkloadAdapter,
  WorkloadFailures,
  WorkloadSpec,
} from './types.js';
import { unitOf } from './unit-name.js';

export interface UnitWorkloadOptions {
  /** Default /run/understudy. */
  readonly runDirectory?: string;
  /** Default /etc/systemd/system: the drop-in must outlive a reboot, see unitDropIn. */
  readonly unitDirectory?: string;
  readonly systemctl?: Systemctl;
  readonly log?: WorkloadLog;
  /** A clock that is never set. */
  readonly nowMs?: () => number;
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
  readonly #dropIns: DropIns;
  readonly #control: Systemctl;
  readonly #log: WorkloadLog | undefined;
  readonly #nowMs: () => number;
  readonly #known = new Map<string, WorkloadRecord>();
  readonly #failures = new FailureCounts();
  /** Started, as far as this agent knows, and not seen to have ended since: else there is no end to count. */
  readonly #ran = new Set<string>();
  /** Restarts by systemd itself that are counted. */
  readonly #restarts = new Map<string, number>();
  /**
   * How often drop-ins were changed, and up to which change systemd has read them. At first nobody knows:
   * an earlier agent may have died between writing one and having it read.
   */
  #written = 1;
  #read = 0;

  constructor(options: UnitWorkloadOptions = {}) {
    this.#runDirectory = options.runDirectory ?? '/run/understudy';
    this.#dropIns = new DropIns(options.unitDirectory ?? '/etc/systemd/system');
    this.#control = options.systemctl ?? systemctl;
    this.#log = options.log;
    this.#nowMs = options.nowMs ?? (() => performance.now());
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
   * Writes the drop-ins of units that could come here, and takes away those of others. A unit that
   * runs here keeps its own, whatever the cluster file says by now: `ensure` and `remove` see to it.
   *
   * @throws US_WORKLOAD_NO_SYSTEMD, US_WORKLOAD_FOREIGN_DROPIN, US_WORKLOAD_SPEC; the first of them,
   * once the other units are ready
   */
  async prepare(specs: readonly WorkloadSpec[], signal: AbortSignal): Promise<void> {
    const units = specs.filter(({ workload }) => workload.kind === 'unit');
    const [first] = units;
    if (first !== undefined) requireSystemd(this.#control, first.personality);
    else if (!this.#control.booted()) return;
    const refused: unknown[] = [];
    const kept = new Set([...this.#known.values()].map(({ spec }) => unitOf(spec)));
    for (const spec of units) {
      try {
        if (kept.has(unitOf(spec))) continue;
        kept.add(unitOf(spec));
        if (this.#dropIns.write(spec)) this.#written++;
      } catch (thrown) {
        refused.push(thrown);
      }
    }
    const removed = this.#dropIns.removeOthers(kept);
    if (removed) this.#written++;
    if (removed || kept.size > 0) await this.#reload(signal);
    if (refused.length > 0) throw refused[0];
  }

  async ensure(spec: WorkloadSpec, signal: AbortSignal): Promise<void> {
    const unit = unitOf(spec);
    const known = this.#known.get(spec.personality);
    const same = known !== undefined && JSON.stringify(known.spec) === JSON.stringify(spec);
    if (known !== undefined && !same) await this.remove(spec.personality, signal);
    requireSystemd(this.#control, spec.personality);
    if (this.#dropIns.write(spec)) this.#written++;
    // Before the start: what a dead agent had started must be found by the next one. And before anything
    // is waited for: `prepare` leaves the drop-in of what is known.
    const record = { spec, process: null };
    this.#known.set(spec.personality, record);
    this.#records.write(record);
    this.#records.writeFile(
      `${spec.personality}.enter`,
      enterScript(spec, this.#runDirectory, null),
    );
    await this.#reload(signal);
    if (same) await this.#lookAfter(spec, unit, signal);
    else this.#restarts.set(spec.personality, 0);
    await this.#start(spec.personality, unit, signal);
  }

  /**
   * What became of it since the last look: it ended, or systemd started it anew. And it is ended where systemd takes
   * it for running, but its volume was attached anew, or its namespace is another by now.
   */
  async #lookAfter(spec: WorkloadSpec, unit: string, signal: AbortSignal): Promise<void> {
    const shown = await this.#show(unit, signal);
    this.#count(spec.personality, shown);
    const pid = Number(shown.get('MainPID') ?? 0);
    if (!(pid > 0) || standsOn(pid, spec)) return;
    const { personality } = spec;
    this.#log?.warn(
      { personality, unit },
      `${unit} has a disk or network that is no more: restarted`,
    );
    this.#ran.delete(personality);
    await this.#control.run(['stop', unit], startStopMs, signal);
  }

  #count(personality: string, shown: ReadonlyMap<string, string>): void {
    const restarts = Number(shown.get('NRestarts') ?? 0);
    // What was before this agent is not known to it.
    const counted = this.#restarts.get(personality) ?? restarts;
    const anew = restarts >= counted ? restarts - counted : restarts;
    const down = ['failed', 'inactive'].includes(shown.get('ActiveState') ?? '');
    const ended = down && this.#ran.has(personality);
    if (down) this.#ran.delete(personality);
    // systemd begins at 0 when somebody starts it.
    this.#restarts.set(personality, down ? 0 : restarts);
    const times = anew + (ended ? 1 : 0);
    if (times === 0) return;
    const result = shown.get('Result') ?? '';
    const last = ended && result === 'success' ? 'it was stopped, or ended by itself' : result;
    const text = last === 'success' ? 'systemd started it anew' : `systemd says: ${last}`;
    this.#failures.add(personality, text, this.#nowMs(), { times });
  }

  /** Without it systemd would start a unit as it was before, outside of its personality. */
  async #reload(signal: AbortSignal): Promise<void> {
    const written = this.#written;
    if (this.#read >= written) return;
    await this.#control.run(['daemon-reload'], quickMs, signal);
    this.#read = Math.max(this.#read, written);
  }

  /** After a failure systemd's count of starts (StartLimitBurst=) begins anew: we pace them ourselves. */
  async #start(personality: string, unit: string, signal: AbortSignal): Promise<void> {
    const sinceMs = this.#nowMs();
    try {
      await this.#control.run(['start', unit], startStopMs, signal);
      this.#ran.add(personality);
    } catch (thrown) {
      signal.throwIfAborted();
      this.#ran.delete(personality);
      this.#failures.add(personality, messageOf(thrown), this.#nowMs(), { sinceMs });
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

  failures(personality: string): WorkloadFailures | undefined {
    return this.#failures.of(personality, this.#nowMs());
  }

  onFailure(listener: FailureListener): void {
    this.#failures.onFailure(listener);
  }

  async observe(signal: AbortSignal): Promise<readonly ObservedWorkload[]> {
    return Promise.all([...this.#known.values()].map(({ spec }) => this.#look(spec, signal)));
  }

  /** The drop-in stays: without it, a unit that is enabled would start outside its personality. */
  async #forget(record: WorkloadRecord): Promise<void> {
    await endAll(record, 0);
    const { personality } = record.spec;
    this.#known.delete(personality);
    this.#failures.forget(personality);
    this.#ran.delete(personality);
    this.#restarts.delete(personality);
    this.#records.remove(personality);
  }

  async #show(unit: string, signal: AbortSignal): Promise<ReadonlyMap<string, string>> {
    const args = ['show', '--property=ActiveState,MainPID,NRestarts,Result', unit];
    return parseProperties(await this.#control.run(args, quickMs, signal));
  }

  async #look(spec: WorkloadSpec, signal: AbortSignal): Promise<ObservedWorkload> {
    const shown = await this.#show(unitOf(spec), signal);
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
