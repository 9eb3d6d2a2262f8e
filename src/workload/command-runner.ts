import type { ChildProcess } from 'node:child_process';
import { join } from 'node:path';
import { messageOf } from '../errors.js';
import { trimLog } from './bounded-log.js';
import { endAll, endSession } from './ending.js';
import { enterScript } from './enter.js';
import { type FailureCounts, healthyMs } from './failure-counts.js';
import { launch } from './launch.js';
import { inhabitants, stillRuns } from './process-table.js';
import type { Records, StartedProcess, WorkloadRecord } from './record.js';
import { standsOn } from './stands-on.js';
import type { ObservedWorkload, WorkloadSpec, WorkloadState } from './types.js';

export interface WorkloadLog {
  info(fields: object, text: string): void;
  warn(fields: object, text: string): void;
}

export interface RunnerParts {
  readonly runDirectory: string;
  readonly records: Records;
  readonly log: WorkloadLog;
  readonly failures: FailureCounts;
  /** Between SIGTERM and SIGKILL. */
  readonly graceMs: number;
  /** Pause before the first new start after a death; doubled for each further one. */
  readonly firstBackOffMs: number;
}

const longestBackOffMs = 30_000;
const trimEveryMs = 5_000;
/**
 * An adopted process is no child of ours, so its end is no event: SIGCHLD goes to its parent, and a
 * pidfd (pidfd_open(2)) would need a poll of its own in FFI. A look at /proc costs 20 µs.
 */
const adoptedLookMs = 250;

/** One personality's workload on this host: at most one runs, and dead ones are started again. */
export class CommandRunner {
  readonly #parts: RunnerParts;
  #record: WorkloadRecord;
  #state: WorkloadState = 'backing-off';
  /** Set by the first `start`: what was merely adopted may belong to an epoch that is over. */
  #wanted = false;
  #restarts = 0;
  #deaths = 0;
  #lastEnd = '';
  #startedMs = 0;
  #watching: () => void = () => {};
  #retry: NodeJS.Timeout | undefined;
  #starting: Promise<void> | undefined;
  #trimming: NodeJS.Timeout | undefined;
  readonly #ended = new AbortController();

  constructor(parts: RunnerParts, record: WorkloadRecord) {
    this.#parts = parts;
    this.#record = record;
  }

  get spec(): WorkloadSpec {
    return this.#record.spec;
  }

  observe(): ObservedWorkload {
    return {
      personality: this.spec.personality,
      epoch: this.spec.epoch,
      kind: 'command',
      state: this.#state,
      pid: this.#state === 'running' ? this.#record.process?.pid : undefined,
      restarts: this.#restarts,
      lastEnd: this.#lastEnd,
    };
  }

  /** Takes over what an earlier agent started; if it has ended, it stays so until `start`. */
  adopt(): void {
    const { process } = this.#record;
    if (process === null) return;
    if (stillRuns(process)) this.#runs(process, undefined);
    else this.#lastEnd = 'not known, no agent ran';
  }

  /** Whether what runs is what `spec` asks for, in the namespace and on the mounts of today. */
  serves(spec: WorkloadSpec): boolean {
    if (this.#ended.signal.aborted) return false;
    if (JSON.stringify(spec) !== JSON.stringify(this.spec)) return false;
    const pid = this.#record.process?.pid;
    if (pid === undefined || this.#state !== 'running') return true;
    return standsOn(pid, spec);
  }

  /** Starts it unless it runs, or waits for a start that is under way. @throws US_WORKLOAD_SETUP */
  async start(signal: AbortSignal): Promise<void> {
    this.#wanted = true;
    if (this.#state === 'running') return;
    clearTimeout(this.#retry);
    this.#starting ??= this.#counted(AbortSignal.any([signal, this.#ended.signal])).finally(() => {
      this.#starting = undefined;
    });
    await this.#starting;
  }

  async #counted(until: AbortSignal): Promise<void> {
    try {
      await this.#launch(until);
    } catch (thrown) {
      // What was called off did not fail.
      if (!until.aborted) this.#failed(messageOf(thrown));
      throw thrown;
    }
  }

  #failed(how: string): void {
    this.#parts.failures.add(this.spec.personality, how, performance.now());
  }

  async #launch(until: AbortSignal): Promise<void> {
    const { spec } = this;
    if (spec.workload.kind !== 'command') return;
    const { command } = spec.workload;
    const { records, runDirectory } = this.#parts;
    await this.#sweep();
    const { child, process } = await launch(
      { ...spec, workload: spec.workload },
      command,
      { runDirectory, logPath: this.#logPath },
      (started) => {
        this.#record = { spec, process: started };
        records.write(this.#record);
        const script = enterScript(spec, runDirectory, started);
        records.writeFile(`${spec.personality}.enter`, script);
      },
      until,
    );
    this.#runs(process, child);
  }

  /** Ends it and all that lives with it. With `graceMs` 0 at once. @throws US_WORKLOAD_STUCK */
  async end(graceMs: number): Promise<void> {
    this.letGo();
    await endAll(this.#record, graceMs);
    this.#parts.records.remove(this.spec.personality);
  }

  /** Stops looking after it; it goes on. */
  letGo(): void {
    this.#ended.abort(new Error('the workload is not wanted any more'));
    this.#watching();
    clearTimeout(this.#retry);
    clearInterval(this.#trimming);
  }

  get #logPath(): string {
    return join(this.#parts.runDirectory, 'log', `${this.spec.personality}.log`);
  }

  /** What is left of an earlier run would hold its ports and files. */
  async #sweep(): Promise<void> {
    if (this.#record.process !== null) await endSession(this.#record);
    else if (inhabitants(this.spec.namespacePath).length > 0) {
      await endAll(this.#record, this.#parts.graceMs);
    }
  }

  #runs(process: StartedProcess, child: ChildProcess | undefined): void {
    this.#state = 'running';
    this.#startedMs = performance.now();
    clearInterval(this.#trimming);
    this.#trimming = setInterval(() => trimLog(this.#logPath), trimEveryMs).unref();
    this.#watching = child === undefined ? this.#watchAdopted(process) : this.#watchChild(child);
  }

  #watchChild(child: ChildProcess): () => void {
    const ended = (code: number | null, signal: NodeJS.Signals | null) =>
      this.#died(signal === null ? `exit code ${code}` : `signal ${signal}`);
    // It may have ended between its start and now.
    if (child.exitCode !== null || child.signalCode !== null) {
      queueMicrotask(() => ended(child.exitCode, child.signalCode));
      return () => {};
    }
    child.once('exit', ended);
    return () => child.off('exit', ended);
  }

  #watchAdopted(process: StartedProcess): () => void {
    const timer = setInterval(() => {
      if (!stillRuns(process)) this.#died('not known, it was no child of this agent');
    }, adoptedLookMs).unref();
    return () => clearInterval(timer);
  }

  #died(how: string): void {
    this.#watching();
    if (this.#ended.signal.aborted) return;
    this.#lastEnd = how;
    this.#failed(how);
    if (performance.now() - this.#startedMs > healthyMs) this.#deaths = 0;
    this.#tryAgain(`the workload of ${this.spec.personality} ended: ${how}`);
  }

  #tryAgain(why: string): void {
    if (this.#ended.signal.aborted) return;
    const { log, firstBackOffMs } = this.#parts;
    const pauseMs = Math.min(longestBackOffMs, firstBackOffMs * 2 ** Math.min(this.#deaths, 16));
    this.#deaths++;
    this.#state = 'backing-off';
    log.warn({ personality: this.spec.personality, deaths: this.#deaths, pauseMs }, why);
    if (!this.#wanted) return;
    this.#retry = setTimeout(() => void this.#restart(), pauseMs);
  }

  async #restart(): Promise<void> {
    this.#restarts++;
    try {
      await this.start(this.#ended.signal);
    } catch (thrown) {
      this.#tryAgain(messageOf(thrown));
    }
  }
}
