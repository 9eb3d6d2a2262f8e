import { spawn } from 'node:child_process';
import { setTimeout as pause } from 'node:timers/promises';
import { readAgentConfig } from '../../agent/config.js';
import { put } from '../../agent/transactions.js';
import { electorateOf, electorsOf } from '../../control/electorate.js';
import { longerKey } from '../../control/keys.js';
import { type LongerLeaseRecord, longestLeaseMs } from '../../control/records.js';
import { currentReport } from '../../control/reports.js';
import type { View } from '../../control/view.js';
import { UnderstudyError } from '../../errors.js';
import { auditOperations, type Change, isWritten, personHere } from '../../operate/audit.js';
import { askPulse, type PulseStatus } from '../../pulse/ask.js';
import { type Cluster, type ClusterOptions, withCluster } from '../cluster.js';

export interface PulseRestartOptions extends ClusterOptions {
  readonly json: boolean;
  /** An agent's configuration file: of this host. */
  readonly config: string;
  /** What restarts it. */
  readonly command: readonly string[];
}

/** Controllers follow one another; each keeps its longer lease for a good ten seconds. */
const turnMs = 60_000;
const lookAgainMs = 20;
const grantedWithinMs = 5_000;
/** Of the longer lease, this must be left when the restart begins, and when it ends. */
const enoughMs = 0.8 * longestLeaseMs;

/**
 * Restarts this host's pulse without losing the lease: obtains a longer one, restarts, waits until the
 * new pulse holds it.
 *
 * @throws {UnderstudyError} US_PULSE_RESTART, US_PULSE_AWAY
 */
export async function run(options: PulseRestartOptions): Promise<number> {
  const { host, pulseSocket } = readAgentConfig(options.config);
  const before = await askPulse(pulseSocket);
  await withCluster(options, (cluster) => announce(cluster, host, before.nonce, options.signal));
  const granted = await until(pulseSocket, grantedWithinMs, options.signal, leftMs(enoughMs));
  if (granted === undefined) {
    throw refused(
      host,
      'the controllers granted no longer lease',
      'understudy status: are they up?',
    );
  }
  const startedMs = performance.now();
  await restart(host, options.command);
  const held = ({ nonce, held }: PulseStatus) => nonce !== before.nonce && held;
  if ((await until(pulseSocket, enoughMs, options.signal, held)) === undefined) {
    throw refused(
      host,
      'the new pulse does not hold the lease yet',
      'see the logs of understudy-pulse and understudy-agent at once: the lease ends in seconds',
    );
  }
  const tookMs = Math.round(performance.now() - startedMs);
  process.stdout.write(
    options.json
      ? `${JSON.stringify({ host, tookMs })}\n`
      : `pulse of ${host} was restarted in ${tookMs} ms; the lease was held throughout\n`,
  );
  return 0;
}

const leftMs =
  (enough: number) =>
  ({ deadlineMs, nowMs }: PulseStatus): boolean =>
    deadlineMs !== null && deadlineMs - nowMs >= enough;

/** Writes down what will be asked for; of controllers only one at a time does. */
export async function announce(
  cluster: Pick<Cluster, 'store' | 'view'>,
  host: string,
  nonce: string,
  signal: AbortSignal,
): Promise<void> {
  const endMs = performance.now() + turnMs;
  for (;;) {
    const view = await cluster.view();
    const incarnation = view.hosts.get(host)?.value.incarnation;
    if (incarnation === undefined) {
      throw refused(host, 'it is not enrolled', 'restart pulse like any service: it holds nothing');
    }
    const others = otherControllers(view, host);
    const starting = others.find((name) => !isGranting(view, name));
    const detail = `restart the pulse of ${host}`;
    const asked: Change = { what: 'pulse-restart', subject: host, detail };
    const record: LongerLeaseRecord = { incarnation, nonce, leaseMs: longestLeaseMs };
    if (starting === undefined) {
      const audit = auditOperations(personHere(), asked);
      const result = await cluster.store.transact({
        compare: [host, ...others].map((name) => ({ kind: 'absent', key: longerKey(name) })),
        write: [put(longerKey(host), record), ...audit],
      });
      if (result.done || (await isWritten(cluster.store, audit))) return;
    }
    if (performance.now() > endMs) {
      const cause =
        starting === undefined
          ? 'another controller’s pulse, or this one, was restarted just now'
          : `controller ${starting} takes no part in majorities`;
      throw refused(host, cause, 'controllers restart one at a time: try again when all are up');
    }
    await pause(500, undefined, { signal });
  }
}

/** Where this host is a controller: those that carry everybody's lease while it restarts. */
function otherControllers(view: View, host: string): readonly string[] {
  const controllers = view.config === undefined ? [] : electorsOf(electorateOf(view.config.value));
  return controllers.includes(host) ? controllers.filter((name) => name !== host) : [];
}

function isGranting(view: View, host: string): boolean {
  const incarnation = view.hosts.get(host)?.value.incarnation;
  return currentReport(view, host, incarnation)?.granting ?? false;
}

async function until(
  socket: string,
  withinMs: number,
  signal: AbortSignal,
  condition: (status: PulseStatus) => boolean,
): Promise<PulseStatus | undefined> {
  const endMs = performance.now() + withinMs;
  while (performance.now() < endMs) {
    const status = await askPulse(socket).catch(() => undefined);
    if (status !== undefined && condition(status)) return status;
    await pause(lookAgainMs, undefined, { signal });
  }
  return undefined;
}

async function restart(host: string, command: readonly string[]): Promise<void> {
  const [program = '', ...argv] = command;
  const child = spawn(program, argv, { stdio: ['ignore', 2, 2] });
  const code = await new Promise<number | string>((resolve) => {
    child.once('error', (error) => resolve(error.message));
    child.once('exit', (exit, signal) => resolve(exit ?? signal ?? 'a signal'));
  });
  if (code === 0) return;
  const text = command.join(' ');
  throw refused(host, `${text} ended with ${code}`, 'see why; the lease goes on as before');
}

function refused(host: string, cause: string, remedy: string): UnderstudyError {
  return new UnderstudyError({
    code: 'US_PULSE_RESTART',
    action: 'cannot restart, without losing the lease, the pulse of',
    object: host,
    cause,
    remedy,
  });
}
