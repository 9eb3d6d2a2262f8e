import { UnderstudyError } from '../errors.js';
import { CommandRunner, type RunnerParts, type WorkloadLog } from './command-runner.js';
import { endAll } from './ending.js';
import { enterScript } from './enter.js';
import { FailureCounts } from './failure-counts.js';
import { Records, type WorkloadRecord } from './record.js';
import type {
  FailureListener,
  ObservedWorkload,
  WorkloadAdapter,
  WorkloadFailures,
  WorkloadSpec,
} from './types.js';

export { enterPersonalityCommand } from './enter.js';

export interface CommandWorkloadOptions {
  /** Default /run/understudy. */
  readonly runDirectory?: string;
  readonly log?: WorkloadLog;
  /** Between SIGTERM and SIGKILL; default 5000. */
  readonly graceMs?: number;
  /** Pause before a dead workload is started again, doubled up to 30 s; default 200. */
  readonly firstBackOffMs?: number;
}

const quiet: WorkloadLog = { info: () => {}, warn: () => {} };

/**
 * Plain commands as workloads, and personalities without any (`kind: none`): those can be entered,
 * too. A command runs in its personality's network namespace and in a mount namespace of its own.
 */
export class CommandWorkload implements WorkloadAdapter {
  readonly #parts: RunnerParts;
  readonly #runners = new Map<string, CommandRunner>();
  /** Personalities without a workload; their record serves `enterPersonalityCommand`. */
  readonly #idle = new Map<string, WorkloadRecord>();
  /** The end of the line of each personality's operations: one at a time. */
  readonly #turns = new Map<string, Promise<void>>();

  constructor(options: CommandWorkloadOptions = {}) {
    const { runDirectory = '/run/understudy' } = options;
    this.#parts = {
      runDirectory,
      records: new Records(runDirectory),
      log: options.log ?? quiet,
      failures: new FailureCounts(),
      graceMs: options.graceMs ?? 5_000,
      firstBackOffMs: options.firstBackOffMs ?? 200,
    };
  }

  async start(_signal: AbortSignal): Promise<void> {
    const { records, log } = this.#parts;
    const found = records.all((path, reason) => log.warn({ path, reason }, `cannot read ${path}`));
    for (const record of found) {
      const { personality, workload } = record.spec;
      if (workload.kind === 'none') this.#idle.set(personality, record);
      if (workload.kind !== 'command') continue;
      const runner = new CommandRunner(this.#parts, record);
      this.#runners.set(personality, runner);
      runner.adopt();
    }
  }

  async stop(): Promise<void> {
    await Promise.all(this.#turns.values());
    for (const runner of this.#runners.values()) runner.letGo();
    this.#runners.clear();
    this.#idle.clear();
  }

  /** A command needs nothing before it runs. */
  async prepare(): Promise<void> {}

  async ensure(spec: WorkloadSpec, signal: AbortSignal): Promise<void> {
    checkSpec(spec, this.#parts.runDirectory);
    await this.#inTurn(spec.personality, async () => {
      signal.throwIfAborted();
      const { personality } = spec;
      const known = this.#runners.get(personality);
      if (known !== undefined && !known.serves(spec)) {
        await known.end(this.#parts.graceMs);
        this.#runners.delete(personality);
        this.#parts.failures.forget(personality);
      }
      if (spec.workload.kind !== 'command') {
        this.#keepIdle(spec);
        return;
      }
      this.#idle.delete(personality);
      const runner =
        this.#runners.get(personality) ?? new CommandRunner(this.#parts, { spec, process: null });
      this.#runners.set(personality, runner);
      await runner.start(signal);
    });
  }

  remove(personality: string, _signal: AbortSignal): Promise<void> {
    return this.#inTurn(personality, () => this.#end(personality, this.#parts.graceMs));
  }

  /** Does not wait for its turn: whatever is going on there ends with SIGKILL. */
  async abort(personality: string, _signal: AbortSignal): Promise<void> {
    await this.#end(personality, 0);
    await this.#inTurn(personality, () => this.#end(personality, 0));
  }

  failures(personality: string): WorkloadFailures | undefined {
    return this.#parts.failures.of(personality, performance.now());
  }

  onFailure(listener: FailureListener): void {
    this.#parts.failures.onFailure(listener);
  }

  async observe(_signal: AbortSignal): Promise<readonly ObservedWorkload[]> {
    return [...this.#runners.values()].map((runner) => runner.observe());
  }

  async #end(personality: string, graceMs: number): Promise<void> {
    const runner = this.#runners.get(personality);
    const idle = this.#idle.get(personality);
    // Not ours: the record may be that of a unit.
    if (runner === undefined && idle === undefined) return;
    if (runner !== undefined) await runner.end(graceMs);
    // Commands that entered it hold its volumes as a workload would.
    if (idle !== undefined) await endAll(idle, graceMs);
    if (this.#runners.get(personality) === runner) this.#runners.delete(personality);
    this.#idle.delete(personality);
    this.#parts.failures.forget(personality);
    this.#parts.records.remove(personality);
  }

  #keepIdle(spec: WorkloadSpec): void {
    const { records, runDirectory } = this.#parts;
    const record = { spec, process: null };
    records.write(record);
    records.writeFile(`${spec.personality}.enter`, enterScript(spec, runDirectory, null));
    this.#idle.set(spec.personality, record);
  }

  #inTurn(personality: string, operation: () => Promise<void>): Promise<void> {
    const before = this.#turns.get(personality) ?? Promise.resolve();
    const run = before.then(operation);
    const settled = run.catch(() => {});
    this.#turns.set(personality, settled);
    void settled.then(() => {
      if (this.#turns.get(personality) === settled) this.#turns.delete(personality);
    });
    return run;
  }
}

/** @throws US_WORKLOAD_SPEC for what could never be carried out. */
function checkSpec({ personality, mounts, workload }: WorkloadSpec, runDirectory: string): void {
  const refuse = (cause: string) => {
    throw new UnderstudyError({
      code: 'US_WORKLOAD_SPEC',
      action: 'cannot run the workload of',
      object: personality,
      cause,
      remedy: 'correct the personality in the cluster file and apply it again',
    });
  };
  if (workload.kind === 'command' && workload.command.length === 0) refuse('the command is empty');
  for (const { target } of mounts) {
    if (!target.startsWith('/') || target === '/') refuse(`${target} is no path for a volume`);
    if (`${target}/`.startsWith(`${runDirectory}/`)) {
      refuse(`${target} is inside ${runDirectory}, which is understudy's own`);
    }
  }
}
