import type { WorkloadConfig } from '../config/types.js';

/** A volume's mount on the host and the path at which the workload sees it. */
export interface WorkloadMount {
  readonly source: string;
  readonly target: string;
}

/** The workload that one personality's epoch wants on this host. */
export interface WorkloadSpec {
  readonly personality: string;
  readonly epoch: number;
  /** /run/netns/us-<personality>. */
  readonly namespacePath: string;
  readonly mounts: readonly WorkloadMount[];
  readonly workload: WorkloadConfig;
}

/**
 * `backing-off`: it died and will be started again after a pause. `failed`: systemd gave it up, or
 * it cannot be started; the adapter goes on trying where that makes sense, at the longest pause.
 */
export type WorkloadState = 'running' | 'backing-off' | 'failed';

export interface ObservedWorkload {
  readonly personality: string;
  readonly epoch: number;
  readonly kind: 'command' | 'unit';
  readonly state: WorkloadState;
  /** Leader of its process group; undefined while none runs. */
  readonly pid: number | undefined;
  /** How often it was started anew since `ensure` or adoption. */
  readonly restarts: number;
  /** How the last run ended: 'exit code 1', 'signal SIGSEGV'; '' before the first end. */
  readonly lastEnd: string;
}

/** Ends of one workload in a row, a minute apart at most. */
export interface WorkloadFailures {
  readonly count: number;
  /** How the last one came: 'exit code 1', what systemd says of a unit, why it could not be started. */
  readonly last: string;
}

/** `times`: how many there were since the last call, mostly one. */
export type FailureListener = (personality: string, times: number) => void;

export interface WorkloadAdapter {
  /** Adopts what an earlier agent left running; starts nothing new. */
  start(signal: AbortSignal): Promise<void>;
  /** Lets go of everything and leaves it running: an agent's restart is no outage. */
  stop(): Promise<void>;
  /**
   * Makes this host ready for the workloads that could come to it, ahead of any takeover; starts
   * nothing. What was made ready before and is not among them is taken back. Their epochs do not
   * matter. Idempotent.
   */
  prepare(specs: readonly WorkloadSpec[], signal: AbortSignal): Promise<void>;
  /**
   * The workload runs when this resolves (for a command: was executed). Idempotent; what runs with
   * another epoch, command or set of mounts is stopped first.
   */
  ensure(spec: WorkloadSpec, signal: AbortSignal): Promise<void>;
  /** Orderly: SIGTERM, a grace, SIGKILL; nothing of it is left when this resolves. */
  remove(personality: string, signal: AbortSignal): Promise<void>;
  /** The epoch is lost: SIGKILL at once. */
  abort(personality: string, signal: AbortSignal): Promise<void>;
  /** Undefined: it is well, as far as this agent has seen. */
  failures(personality: string): WorkloadFailures | undefined;
  /** `listener` is told of each end that was not asked for, and each start that failed. */
  onFailure(listener: FailureListener): void;
  /** What of ours runs on this host, also from before an agent restart. */
  observe(signal: AbortSignal): Promise<readonly ObservedWorkload[]>;
}
