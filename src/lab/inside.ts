import { type ChildProcess, type SpawnOptions, spawn } from 'node:child_process';
import { UnderstudyError } from '../errors.js';
import { inPidNamespace } from '../ffi/pid-namespace.js';
import { collect, type Ran } from './shell.js';
import type { Batch } from './wiring.js';

/** A command, and the PID namespace that it is to be born in. */
export interface NodeCommand {
  readonly argv: readonly string[];
  /** `/proc/PID/ns/pid` of the lab or of one of its hosts. */
  readonly pidNamespace: string;
}

/**
 * Starts it as a direct child of this process: a signal sent to the child reaches the command itself,
 * its exit code is the command's, and it ends with its lab or host. (`nsenter --pid` would stand in
 * between and hand no signal on.)
 */
export function spawnInside(command: NodeCommand, options: SpawnOptions): ChildProcess {
  const [program = '', ...rest] = command.argv;
  return inPidNamespace(command.pidNamespace, () => spawn(program, rest, options));
}

/** Where a node's network namespace can be opened from outside the lab. */
export function namespacePath(labPid: number, node: string): string {
  return `/proc/${labPid}/root/run/netns/${node}`;
}

/** A command in the lab's mounts and in a node's network; in the lab's own network without one. */
export function insideLab(
  labPid: number,
  node: string | undefined,
  argv: readonly string[],
  directory = '/',
): NodeCommand {
  const network = node === undefined ? `/proc/${labPid}/ns/net` : namespacePath(labPid, node);
  return {
    argv: [
      ...['nsenter', `--mount=/proc/${labPid}/ns/mnt`, `--net=${network}`],
      ...[`--wdns=${directory}`, '--', ...argv],
    ],
    pidNamespace: `/proc/${labPid}/ns/pid`,
  };
}

async function run(command: NodeCommand, what: string, input: string): Promise<string> {
  let ran: Ran;
  try {
    ran = await collect(spawnInside(command, { stdio: ['pipe', 'pipe', 'pipe'] }), input);
  } catch (thrown) {
    throw failed(what, String(thrown), thrown);
  }
  if (ran.code === 0) return ran.stdout;
  const words = ran.stderr.trim().split('\n').slice(-3).join('; ');
  throw failed(what, words || `exit code ${ran.code}`);
}

/** Runs a shell script in the lab; it has to succeed. @throws {UnderstudyError} US_LAB_SCRIPT */
export function runScript(labPid: number, what: string, script: string): Promise<string> {
  return run(insideLab(labPid, undefined, ['bash', '-s']), what, script);
}

/** Equals: `ip -batch -` (or `bridge -batch -`) in the batch's node. @throws {UnderstudyError} US_LAB_SCRIPT */
export async function runBatch(labPid: number, what: string, batch: Batch): Promise<void> {
  if (batch.lines.length === 0) return;
  const command = insideLab(labPid, batch.node, [batch.tool ?? 'ip', '-batch', '-']);
  await run(command, what, `${batch.lines.join('\n')}\n`);
}

export async function runBatches(
  labPid: number,
  what: string,
  batches: readonly Batch[],
): Promise<void> {
  await Promise.all(batches.map((batch) => runBatch(labPid, what, batch)));
}

function failed(what: string, cause: string, thrown?: unknown): UnderstudyError {
  return new UnderstudyError(
    {
      code: 'US_LAB_SCRIPT',
      action: 'cannot',
      object: what,
      cause,
      remedy: 'npm run setup installs what a lab needs; if nothing is missing, report this',
    },
    { cause: thrown },
  );
}
