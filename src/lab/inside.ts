import { type ChildProcess, type SpawnOptions, spawn } from 'node:child_process';
import { inPidNamespace } from '../ffi/pid-namespace.js';

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
