import { type ChildProcess, spawn } from 'node:child_process';
import { closeSync, writeFileSync } from 'node:fs';
import { setPriority } from 'node:os';
import { UnderstudyError } from '../errors.js';
import { mountUnit, scopeWords } from '../scope.js';
import { openLog } from './bounded-log.js';
import { freshNamespaceCommand, launchScript } from './enter.js';
import { runningProcess } from './process-table.js';
import type { StartedProcess } from './record.js';
import type { WorkloadSpec } from './types.js';

/** Mounts and look-ups; none of it waits for a healthy disk. */
const setupMs = 10_000;
const longestComplaintBytes = 4_096;

export interface Launched {
  readonly child: ChildProcess;
  readonly process: StartedProcess;
}

/**
 * Starts a command in its personality, in a session of its own. `record` is called when all is
 * mounted and before the command is executed: if this process dies in between, nothing runs.
 *
 * @throws US_WORKLOAD_SETUP with the words of nsenter, mount or the shell
 */
export async function launch(
  spec: WorkloadSpec & { readonly workload: { readonly kind: 'command' } },
  command: readonly string[],
  options: { readonly runDirectory: string; readonly logPath: string },
  record: (process: StartedProcess) => void,
  signal: AbortSignal,
): Promise<Launched> {
  const prefix = freshNamespaceCommand(spec, options.runDirectory, launchScript);
  const scope = scopeWords({
    name: `understudy-workload-${spec.personality}`,
    description: `Understudy workload of ${spec.personality}`,
    // At shutdown in the opposite order: after the agent, which would start it anew, and before its
    // volumes are unmounted.
    properties: [
      'Before=understudy-agent.service',
      ...spec.mounts.map(({ source }) => `After=${mountUnit(source)}`),
    ],
  });
  const [program = 'nsenter', ...words] = [...scope, ...prefix, ...command];
  const log = openLog(options.logPath);
  // Not unshared before setsid(2): `detached` makes the child leader of its session and group.
  const child = spawn(program, words, {
    detached: true,
    cwd: '/',
    env: environmentOf(spec),
    stdio: ['pipe', 'pipe', 'pipe', log],
  });
  closeSync(log);
  try {
    await readiness(child, spec, signal);
    const process = child.pid === undefined ? undefined : runningProcess(child.pid);
    if (process === undefined) throw setupError(spec, 'it ended at once');
    const started = { pid: process.pid, startTicks: process.startTicks };
    asOrdinaryWork(process.pid);
    record(started);
    child.stdin?.end('go\n');
    child.unref();
    return { child, process: started };
  } catch (thrown) {
    child.stdin?.destroy();
    if (child.exitCode === null) child.kill('SIGKILL');
    throw thrown;
  } finally {
    child.stdout?.destroy();
    child.stderr?.destroy();
  }
}

/** The agent's rank is not for what it starts. This is one thread until it is told to go. */
function asOrdinaryWork(pid: number): void {
  setPriority(pid, 0);
  writeFileSync(`/proc/${pid}/oom_score_adj`, '0');
}

/** A workload inherits nothing of the agent's environment (sockets of systemd, proxies, secrets). */
function environmentOf(spec: WorkloadSpec): NodeJS.ProcessEnv {
  return {
    PATH: '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin',
    HOME: '/',
    LANG: 'C.UTF-8',
    UNDERSTUDY_PERSONALITY: spec.personality,
    UNDERSTUDY_EPOCH: String(spec.epoch),
  };
}

function readiness(child: ChildProcess, spec: WorkloadSpec, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    let said = '';
    let complaint = '';
    const end = (finish: () => void) => {
      clearTimeout(timer);
      signal.removeEventListener('abort', abort);
      finish();
    };
    const fail = (cause: string) => end(() => reject(setupError(spec, cause)));
    const abort = () => end(() => reject(signal.reason));
    const timer = setTimeout(() => fail(`not set up within ${setupMs} ms`), setupMs);
    signal.addEventListener('abort', abort);
    if (signal.aborted) abort();
    child.stdin?.on('error', () => {});
    child.stdout?.on('data', (data: Buffer) => {
      said = (said + data.toString()).slice(-longestComplaintBytes);
      if (said.endsWith('ready\n')) end(resolve);
    });
    child.stderr?.on('data', (data: Buffer) => {
      complaint = (complaint + data.toString()).slice(0, longestComplaintBytes);
    });
    child.on('error', (error) => fail(error.message));
    // 'close' and not 'exit': by then all that was said has been read.
    child.on('close', (code, ended) => fail(complaint.trim() || `ended with ${ended ?? code}`));
  });
}

function setupError(spec: WorkloadSpec, cause: string): UnderstudyError {
  return new UnderstudyError({
    code: 'US_WORKLOAD_SETUP',
    action: 'cannot start the workload of',
    object: spec.personality,
    cause,
    remedy:
      'check the command, and that its volumes and its network namespace are there (ip netns list)',
  });
}
