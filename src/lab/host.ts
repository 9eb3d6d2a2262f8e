import { existsSync, readFileSync } from 'node:fs';
import { setTimeout as pause } from 'node:timers/promises';
import { messageOf, UnderstudyError } from '../errors.js';
import { cutPorts, cutPower, type Direction, joinPorts, removePorts } from './cuts.js';
import { Daemon, unknownDaemon } from './daemon.js';
import {
  insideLab,
  type NodeCommand,
  namespacePath,
  runBatch,
  runBatches,
  runScript,
  spawnInside,
} from './inside.js';
import type { Machine, Network } from './machine.js';
import type { LabHost, LabPlan } from './plan.js';
import {
  isAlive,
  killAndWait,
  membersOf,
  type ProcessId,
  signalExactly,
  signals,
  statesInside,
} from './processes.js';
import { collect } from './shell.js';
import { untilReady } from './until-ready.js';
import { enterVm } from './vm/host-init.js';
import { continueProcessor, isPaused, stopProcessor } from './vm/machine.js';
import {
  addNodes,
  bringUp,
  hostCables,
  knowNics,
  layCables,
  plugPorts,
  removeNodes,
} from './wiring.js';

/** What the first process keeps running (src/lab/init-scripts.ts). */
const daemons: readonly string[] = ['pulse', 'agent'];
const bootMs = 60_000;
const goneMs = 60_000;
/** Processes in the middle of a system call stop when they leave it. */
const stopRounds = 500;
const stopPauseMs = 2;

/** What a host's power switch needs to know of the lab. */
export interface HostPlace {
  readonly labPid: number;
  /** The lab's folder, as the lab itself sees it. */
  readonly directory: string;
  readonly mountPoints: readonly string[];
  readonly backend: LabPlan['backend'];
}

/** One host of a lab: its power, its cables and its first process. */
export class Host implements Machine {
  readonly name: string;
  readonly #plan: LabHost;
  readonly #index: number;
  readonly #place: HostPlace;

  constructor(plan: LabHost, index: number, place: HostPlace) {
    this.name = plan.name;
    this.#plan = plan;
    this.#index = index;
    this.#place = place;
  }

  /** Its first process, as this machine numbers it; undefined without power. */
  get process(): ProcessId | undefined {
    try {
      const text = readFileSync(`${this.#folder}/pid`, 'utf8');
      const [pid = '', startTime = ''] = text.trim().split(' ');
      const id = { pid: Number(pid), startTime };
      return isAlive(id) ? id : undefined;
    } catch {
      return undefined; // it never had power
    }
  }

  get #powered(): ProcessId {
    const id = this.process;
    if (id !== undefined) return id;
    throw new UnderstudyError({
      code: 'US_LAB_NO_POWER',
      action: 'cannot reach',
      object: this.name,
      cause: 'it has no power',
      remedy: `understudy lab start ${this.name}`,
    });
  }

  /** @throws {UnderstudyError} US_LAB_NO_POWER */
  command(argv: readonly string[]): NodeCommand {
    const { pid } = this.#powered;
    const { labPid, directory } = this.#place;
    if (this.#isVm) {
      return insideLab(labPid, undefined, enterVm(`${directory}/hosts/${this.name}`, argv));
    }
    const enter = ['nsenter', '-t', String(pid), '-m', '-u', '-n', '--wdns=/', '--'];
    return { argv: [...enter, ...argv], pidNamespace: `/proc/${pid}/ns/pid` };
  }

  /**
   * Power on: network namespace, cables, then its first process.
   *
   * @throws {UnderstudyError} US_LAB_POWER when it has power, US_LAB_HOST when it does not come up
   */
  async powerOn(): Promise<void> {
    if (this.process !== undefined) {
      throw new UnderstudyError({
        code: 'US_LAB_POWER',
        action: 'cannot start',
        object: this.name,
        cause: 'it has power',
        remedy: `understudy lab kill ${this.name} cuts it`,
      });
    }
    const { labPid } = this.#place;
    // A virtual machine that switched itself off has its cables still.
    if (existsSync(namespacePath(labPid, this.name))) await this.#unplug();
    const cables = hostCables(this.#plan, this.#index);
    const wire = `wire ${this.name}`;
    await runBatch(labPid, wire, addNodes([this.name]));
    await runBatches(labPid, wire, layCables(cables));
    await runBatches(labPid, wire, [...plugPorts(cables), ...bringUp(cables)]);
    await runBatch(labPid, wire, knowNics(cables));
    await this.#boot();
  }

  /** Starts the first process, which says `ready` once it has its own root. */
  async #boot(): Promise<void> {
    const { labPid, directory, mountPoints } = this.#place;
    const enter = insideLab(labPid, this.name, [
      ...[
        'sh',
        '-c',
        'for nic in eth1 eth2; do ethtool -K $nic tx off > /dev/null; done; exec "$@"',
        'boot',
      ],
      ...['unshare', '--mount', '--uts', '--pid', '--propagation', 'slave', '--'],
      ...['setsid', '--fork', 'bash', `${directory}/host-init`, this.name, directory],
      ...mountPoints,
    ]);
    const child = spawnInside(enter, { stdio: ['ignore', 'pipe', 'pipe'] });
    await untilReady(child, bootMs).catch((thrown: unknown) => {
      throw new UnderstudyError({
        code: 'US_LAB_HOST',
        action: 'cannot start',
        object: this.name,
        cause: messageOf(thrown),
        remedy: 'if nothing of the machine is missing (npm run setup), report this',
      });
    });
  }

  /**
   * A power cut: both links go dead in one step, then the first process is killed, and by the kernel
   * every other one with it. Nothing is flushed: whatever a file system would still write on its way
   * out meets a dead disk.
   */
  async cut(): Promise<void> {
    const id = this.#powered;
    const { labPid } = this.#place;
    const what = `cut the power of ${this.name}`;
    await runBatch(labPid, what, cutPower([this.#plan]));
    if (!(await killAndWait(id, goneMs))) throw this.#stuck('it still has processes after SIGKILL');
    await this.#unplug();
  }

  async #unplug(): Promise<void> {
    const { labPid } = this.#place;
    const what = `unplug ${this.name}`;
    await runBatch(labPid, what, removePorts(this.#plan));
    await runBatch(labPid, what, removeNodes([this.name]));
  }

  /**
   * Stops every process, as a hypervisor would. kill(2) with -1 reaches all of a PID namespace in one
   * step that no fork escapes, except its first process, which is stopped before. Of a virtual machine it
   * stops the processor.
   *
   * @returns how many are stopped
   */
  async pause(): Promise<number> {
    const id = this.#powered;
    if (this.#isVm) {
      await this.#ofMachine(stopProcessor);
      return 1;
    }
    signalExactly(id, signals.stop);
    await this.#signalAll(id, 'STOP');
    for (let round = 0; round < stopRounds; round++) {
      const states = statesInside(id.pid);
      // One that waits for a device ('D': its disk process was stopped before it) has its signal pending
      // and comes back to its program only as a stopped one.
      if (states.every((state) => 'TtZXD'.includes(state))) return states.length;
      await pause(stopPauseMs);
    }
    throw this.#stuck('some process does not stop');
  }

  /** Lets all go on, the first process last. */
  async resume(): Promise<number> {
    const id = this.#powered;
    if (this.#isVm) {
      await this.#ofMachine(continueProcessor);
      return 1;
    }
    const { length } = livingStates(id);
    await this.#signalAll(id, 'CONT');
    signalExactly(id, signals.continue);
    return length;
  }

  /** False without power. */
  async isPaused(): Promise<boolean> {
    const id = this.process;
    if (id === undefined) return false;
    if (this.#isVm) return await this.#ofMachine(isPaused);
    // A paused host's first process is stopped; nothing else stops that one.
    return membersOf(id.pid).some(({ pid, state }) => pid === id.pid && state === 'T');
  }

  get #isVm(): boolean {
    return this.#place.backend === 'vm';
  }

  async #ofMachine<T>(ask: (folder: string) => Promise<T>): Promise<T> {
    try {
      return await ask(this.#folder);
    } catch (thrown) {
      throw this.#stuck(messageOf(thrown));
    }
  }

  /** Of the host's files, from outside the lab. */
  get #folder(): string {
    const { labPid, directory } = this.#place;
    return `/proc/${labPid}/root${directory}/hosts/${this.name}`;
  }

  async #signalAll({ pid }: ProcessId, signal: 'STOP' | 'CONT'): Promise<void> {
    const argv = ['kill', `-${signal}`, '--', '-1'];
    const command = { argv, pidNamespace: `/proc/${pid}/ns/pid` };
    await collect(spawnInside(command, { stdio: ['pipe', 'pipe', 'pipe'] }));
  }

  async partition(networks: readonly Network[], direction: Direction): Promise<void> {
    this.#powered;
    const { eth1, eth2 } = this.#plan.ports;
    const ports = networks.map((network) => (network === 'internal' ? eth1 : eth2));
    await runBatches(this.#place.labPid, `cut ${this.name} off`, cutPorts(ports, direction));
  }

  async heal(): Promise<void> {
    this.#powered;
    const { eth1, eth2 } = this.#plan.ports;
    await runScript(this.#place.labPid, `join ${this.name}`, joinPorts([eth1, eth2]));
  }

  daemon(name: string): Daemon {
    const { pid } = this.#powered;
    // A virtual machine's are its systemd's: `lab exec HOST -- systemctl kill` reaches them.
    const own = this.#isVm ? [] : daemons;
    if (!own.includes(name)) throw unknownDaemon(this.name, name, own);
    return new Daemon({ node: this.name, name, initPid: pid, folder: `/proc/${pid}/root/run/lab` });
  }

  #stuck(cause: string): UnderstudyError {
    return new UnderstudyError({
      code: 'US_LAB_STUCK',
      action: 'cannot go on with',
      object: this.name,
      cause,
      remedy: 'understudy lab down; what stays waits in the kernel (ps -eo pid,stat,wchan,args)',
    });
  }
}

/** Without those that have ended and are not yet waited for. */
function livingStates({ pid }: ProcessId): readonly string[] {
  return statesInside(pid).filter((state) => !'ZX'.includes(state));
}
