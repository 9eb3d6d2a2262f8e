import { closeSync, existsSync, readFileSync, writeFileSync } from 'node:fs';
import { constants } from 'node:os';
import { setTimeout as pause } from 'node:timers/promises';
import { UnderstudyError } from '../errors.js';
import { openProcess, waitForEnd } from '../ffi/pidfd.js';
import type { DaemonSignal } from './daemon-signals.js';
import { argvText } from './files.js';
import {
  isAlive,
  killAndWait,
  memberNumbered,
  type ProcessId,
  signalExactly,
  signals,
} from './processes.js';

/** As long as systemd's default would be in a hurry; then it is killed. */
const endMs = 10_000;
const backMs = 10_000;
const lookAgainMs = 5;

/** Where a daemon's files are: its number, its command, and the pipe that starts it again. */
export interface DaemonPlace {
  readonly node: string;
  readonly name: string;
  /** First process of the PID namespace that numbers it. */
  readonly initPid: number;
  /** `FOLDER/NAME.pid`, as this process sees it. */
  readonly folder: string;
}

/** One daemon of a lab, to do things to: pulse, agent, target, tgtd, etcd. */
export class Daemon {
  readonly #place: DaemonPlace;

  constructor(place: DaemonPlace) {
    this.#place = place;
  }

  /** Undefined when it does not run. */
  get process(): ProcessId | undefined {
    const { initPid, folder, name } = this.#place;
    try {
      const number = Number(readFileSync(`${folder}/${name}.pid`, 'utf8'));
      return memberNumbered(initPid, number);
    } catch {
      return undefined; // it never ran
    }
  }

  /** @throws {UnderstudyError} US_LAB_PROCESS when it does not run */
  signal(signal: DaemonSignal): void {
    const running = this.process;
    const done = running !== undefined && signalExactly(running, constants.signals[`SIG${signal}`]);
    if (!done) throw this.#refuse(`signal ${signal} to`, 'it does not run');
  }

  /** SIGKILL, and waits for its end. @throws {UnderstudyError} US_LAB_PROCESS */
  async kill(): Promise<void> {
    const running = this.process;
    if (running === undefined) throw this.#refuse('kill', 'it does not run');
    if (!(await killAndWait(running, endMs))) throw this.#refuse('kill', 'it does not end');
  }

  /**
   * Ends it in good order and has it started again at once: with another command, if one is given, as
   * an upgrade would.
   *
   * @throws {UnderstudyError} US_LAB_PROCESS
   */
  async restart(argv?: readonly string[]): Promise<void> {
    const { folder, name } = this.#place;
    if (!existsSync(`${folder}/${name}.again`)) {
      throw this.#refuse('restart', 'nothing starts it again');
    }
    if (argv !== undefined) {
      writeFileSync(`${folder}/${name}.command`, argvText(argv), { mode: 0o600 });
    }
    const before = this.process;
    if (before !== undefined) await this.#end(before);
    writeFileSync(`${folder}/${name}.again`, '\n');
    const deadlineMs = performance.now() + backMs;
    while (this.process === undefined) {
      if (performance.now() > deadlineMs) throw this.#refuse('restart', 'it does not start');
      await pause(lookAgainMs);
    }
  }

  async #end(id: ProcessId): Promise<void> {
    const fd = openProcess(id.pid);
    if (fd === undefined) return;
    try {
      // One that was stopped would not hear it.
      signalExactly(id, signals.continue);
      if (!signalExactly(id, signals.terminate) || (await waitForEnd(fd, endMs))) return;
      signalExactly(id, signals.kill);
      await waitForEnd(fd, endMs);
    } finally {
      closeSync(fd);
    }
    if (isAlive(id)) throw this.#refuse('restart', 'it does not end');
  }

  #refuse(what: string, cause: string): UnderstudyError {
    const { node, name } = this.#place;
    return new UnderstudyError({
      code: 'US_LAB_PROCESS',
      action: `cannot ${what}`,
      object: `${name} on ${node}`,
      cause,
      remedy:
        'understudy lab status tells which nodes have power; their logs are in the lab’s folder',
    });
  }
}

/** @throws {UnderstudyError} US_LAB_PROCESS */
export function unknownDaemon(node: string, name: string, known: readonly string[]) {
  return new UnderstudyError({
    code: 'US_LAB_PROCESS',
    action: 'cannot find',
    object: `${name} on ${node}`,
    cause: 'the node has no such daemon',
    remedy:
      known.length === 0 ? 'name a host, storage or an etcd node' : `one of: ${known.join(', ')}`,
  });
}
