import { UnderstudyError } from '../errors.js';
import { cutPorts, type Direction, joinPorts } from './cuts.js';
import { Daemon, unknownDaemon } from './daemon.js';
import { runBatches, runScript } from './inside.js';

export type Network = 'internal' | 'storage';

/** A node of a lab that faults can be done to. */
export interface Machine {
  readonly name: string;
  /** A power cut. */
  cut(): Promise<void>;
  powerOn(): Promise<void>;
  /** @returns how many processes are stopped */
  pause(): Promise<number>;
  resume(): Promise<number>;
  partition(networks: readonly Network[], direction: Direction): Promise<void>;
  heal(): Promise<void>;
  /** @throws {UnderstudyError} US_LAB_PROCESS when it has none of this name */
  daemon(name: string): Daemon;
}

export interface BesidePlan {
  readonly name: string;
  /** Its ports on the switch. */
  readonly ports: Readonly<Partial<Record<Network, string>>>;
  readonly daemons: readonly string[];
  /** Shell that starts its daemon again; undefined: it has no power switch. */
  readonly start: string | undefined;
}

/** An etcd node or the storage node: its daemons are processes of the lab itself. */
export class BesideMachine implements Machine {
  readonly name: string;
  readonly #plan: BesidePlan;
  readonly #labPid: number;
  readonly #folder: string;

  /** `folder`: the lab's, as the lab sees it. */
  constructor(plan: BesidePlan, labPid: number, folder: string) {
    this.name = plan.name;
    this.#plan = plan;
    this.#labPid = labPid;
    this.#folder = folder;
  }

  daemon(name: string): Daemon {
    const { daemons } = this.#plan;
    // An etcd node's daemon goes by the node's name among the lab's files.
    const file = name === 'etcd' && daemons.includes(this.name) ? this.name : name;
    if (!daemons.includes(file)) throw unknownDaemon(this.name, name, daemons);
    const folder = `/proc/${this.#labPid}/root${this.#folder}/run`;
    return new Daemon({ node: this.name, name: file, initPid: this.#labPid, folder });
  }

  /** SIGKILL. What it wrote stays: a disk outlives a power cut. */
  async cut(): Promise<void> {
    this.#needSwitch();
    await Promise.all(this.#daemons.map((daemon) => daemon.kill()));
  }

  async powerOn(): Promise<void> {
    const start = this.#needSwitch();
    if (this.#daemons.some(({ process }) => process !== undefined)) {
      throw this.#refuse('start', 'it has power', `understudy lab kill ${this.name} cuts it`);
    }
    await runScript(this.#labPid, `start ${this.name}`, start);
  }

  async pause(): Promise<number> {
    return this.#signalAll('STOP');
  }

  async resume(): Promise<number> {
    return this.#signalAll('CONT');
  }

  partition(networks: readonly Network[], direction: Direction): Promise<void> {
    const ports = networks.flatMap((network) => this.#plan.ports[network] ?? []);
    return runBatches(this.#labPid, `cut ${this.name} off`, cutPorts(ports, direction));
  }

  async heal(): Promise<void> {
    const ports = Object.values(this.#plan.ports);
    await runScript(this.#labPid, `join ${this.name}`, joinPorts(ports));
  }

  get #daemons(): readonly Daemon[] {
    return this.#plan.daemons.map((name) => this.daemon(name));
  }

  #signalAll(signal: 'STOP' | 'CONT'): number {
    for (const daemon of this.#daemons) daemon.signal(signal);
    return this.#daemons.length;
  }

  #needSwitch(): string {
    const { start } = this.#plan;
    if (start !== undefined) return start;
    const remedy = 'pause, partition or signal it instead';
    throw this.#refuse('switch', 'it has no power switch', remedy);
  }

  #refuse(what: string, cause: string, remedy: string): UnderstudyError {
    return new UnderstudyError({
      code: 'US_LAB_POWER',
      action: `cannot ${what}`,
      object: this.name,
      cause,
      remedy,
    });
  }
}
