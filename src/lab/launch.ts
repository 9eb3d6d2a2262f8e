import { spawn } from 'node:child_process';
import type { Duplex } from 'node:stream';
import { messageOf, UnderstudyError } from '../errors.js';
import { labInit } from './init-scripts.js';
import { type ProcessId, startTimeOf } from './processes.js';
import { labDirectory, makeLabDirectory } from './state.js';
import { untilReady } from './until-ready.js';

const readyMs = 15_000;

/** A lab's first process, and the pipe that it lives by until it is told to stay. */
export interface LaunchedLab {
  readonly process: ProcessId;
  /** It stays when this process ends. */
  keep(): void;
  /** Lets go of the pipe. */
  close(): void;
}

/**
 * Starts the first process of a lab. It is nobody's child: `setsid --fork` ends at once, so no process
 * stays outside the lab.
 *
 * @throws {UnderstudyError} US_LAB_KERNEL with the words of whoever refused
 */
export async function launchLab(
  name: string,
  mountPoints: readonly string[],
): Promise<LaunchedLab> {
  makeLabDirectory(name);
  const child = spawn(
    'unshare',
    [
      ...['--mount', '--net', '--pid', '--propagation', 'slave', '--'],
      ...['setsid', '--fork', 'bash', '-s', '--', labDirectory(name), ...mountPoints],
    ],
    { stdio: ['pipe', 'pipe', 'pipe', 'pipe'] },
  );
  child.stdin?.on('error', () => undefined);
  child.stdin?.end(labInit);
  // Not standard input: node closes that when the child ends, and this one ends at once.
  const leash = child.stdio[3] as Duplex;
  // It may be gone when we let go of it.
  leash.on('error', () => undefined);
  const close = () => leash.destroy();
  try {
    const pid = Number(await untilReady(child, readyMs));
    const startTime = startTimeOf(pid);
    if (startTime === undefined) throw new Error('its first process ended');
    return {
      process: { pid, startTime },
      keep: () => {
        leash.end('keep\n');
      },
      close,
    };
  } catch (thrown) {
    close();
    throw new UnderstudyError({
      code: 'US_LAB_KERNEL',
      action: 'cannot make the namespaces of lab',
      object: name,
      cause: messageOf(thrown),
      remedy:
        'a lab needs mount, PID and network namespaces and overlay (in a container: --privileged)',
    });
  }
}
