import type { ChildProcess, SpawnOptions } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import type { ClusterConfig, LabConfig } from '../config/types.js';
import { UnderstudyError } from '../errors.js';
import { enterPersonalityCommand } from '../workload/enter.js';
import { buildNodes } from './build.js';
import { cutPower, type Direction } from './cuts.js';
import type { LabPrograms } from './files.js';
import { Host } from './host.js';
import { hostInit as ownHostInit } from './init-scripts.js';
import { insideLab, type NodeCommand, namespacePath, runBatch, spawnInside } from './inside.js';
import { type LaunchedLab, launchLab } from './launch.js';
import { removeLioTargets } from './lio.js';
import { loadLab } from './load.js';
import { removeUnboundLoops } from './loops.js';
import { BesideMachine, type Machine, type Network } from './machine.js';
import { ownMountPoints } from './mount-points.js';
import { controlNode, type LabPlan, planLab, storageNode, switchNode } from './plan.js';
import { killAndWait } from './processes.js';
import { checkRequirements, kernelFeatures } from './requirements.js';
import { besidePlans } from './services.js';
import { type SettleOptions, settle } from './settle.js';
import { collect, type Ran } from './shell.js';
import {
  claimName,
  type LabState,
  labDirectory,
  removeState,
  runningLabs,
  updateState,
} from './state.js';
import { vmHostInit } from './vm/host-init.js';
import { vmImage } from './vm/image.js';

export interface LabOptions extends SettleOptions {
  readonly name: string;
  readonly config: ClusterConfig;
  readonly lab: LabConfig;
  /** true: it stays when this process ends. false: it ends with this process, however that ends. */
  readonly keep?: boolean;
  /** Changes to every agent's configuration file, e.g. `{announce: false}`. */
  readonly agentSettings?: Readonly<Record<string, unknown>>;
  /** What the hosts run instead of this checkout's own daemons. */
  readonly programs?: Partial<LabPrograms>;
  /** What a host's first process runs instead of the lab's own script (see init-scripts.ts). */
  readonly hostInit?: string;
}

const goneMs = 15_000;

/** A little data centre inside one PID and mount namespace of this machine. */
export class Lab {
  readonly #state: LabState;
  readonly #hosts: ReadonlyMap<string, Host>;
  readonly #machines: ReadonlyMap<string, Machine>;
  /** Holds the pipe that the lab lives by; known only to who started it. */
  readonly #launched: LaunchedLab | undefined;

  private constructor(state: LabState, launched?: LaunchedLab) {
    this.#state = state;
    this.#launched = launched;
    const place = {
      labPid: state.pid,
      directory: labDirectory(state.name),
      mountPoints: ownMountPoints(neededPaths),
      backend: state.plan.backend,
    };
    this.#hosts = new Map(
      state.plan.hosts.map((host, index) => [host.name, new Host(host, index, place)]),
    );
    const beside = besidePlans(place.directory, state.plan).map(
      (plan) => [plan.name, new BesideMachine(plan, state.pid, place.directory)] as const,
    );
    this.#machines = new Map<string, Machine>([...this.#hosts, ...beside]);
  }

  /** A lab that runs already. */
  static attach(state: LabState): Lab {
    return new Lab(state);
  }

  /**
   * Builds it, applies the definition and waits until every personality and service runs. Whatever
   * goes wrong on the way, nothing is left. Moves this process's network into the lab's control node.
   *
   * @throws {UnderstudyError} what `build` throws; US_LAB_SETTLE
   */
  static async up(options: LabOptions): Promise<Lab> {
    const lab = await Lab.#launch(options);
    try {
      await settle(lab, options);
      lab.#finish(options);
      return lab;
    } catch (thrown) {
      await lab.down();
      throw thrown;
    }
  }

  /**
   * The nodes alone: networks, storage, etcd and hosts with power. Nothing is applied or waited for.
   *
   * @throws {UnderstudyError} US_LAB_ROOT, US_LAB_PACKAGE, US_LAB_KERNEL, US_LAB_RUNNING,
   * US_LAB_SCRIPT, US_LAB_HOST, with virtual machines US_LAB_IMAGE, and what `planLab` throws
   */
  static async build(options: LabOptions): Promise<Lab> {
    const lab = await Lab.#launch(options);
    lab.#finish(options);
    return lab;
  }

  static async #launch(options: LabOptions): Promise<Lab> {
    const { name, signal, lab: section } = options;
    checkRequirements(section);
    signal.throwIfAborted();
    // A virtual machine has Debian's kernel, which has it as a module.
    const features = section.backend === 'vm' ? { vlan: true } : kernelFeatures(options.config);
    const plan = planLab(name, options.config, section, features);
    const hostInit = options.hostInit ?? (await hostInitOf(section.backend, options));
    const launched = await launchLab(name, ownMountPoints(neededPaths));
    const state = { name, ...launched.process, ready: false, plan };
    const lab = new Lab(state, launched);
    try {
      claimName(state);
      for (const notice of plan.notices) options.say(notice);
      await lab.#removeLioTargets();
      await lab.#build(options, hostInit);
      signal.throwIfAborted();
      return lab;
    } catch (thrown) {
      await lab.down();
      throw thrown;
    }
  }

  async #build(options: LabOptions, hostInit: string): Promise<void> {
    const { pid: labPid, plan, name } = this.#state;
    const own = (daemon: string) => [process.execPath, `${checkoutPath}/bin/understudy`, daemon];
    const programs = {
      agent: own('agent'),
      pulse: own('pulse'),
      target: own('target'),
      ...options.programs,
    };
    const agentSettings = options.agentSettings ?? {};
    const hosts = [...this.#hosts.values()];
    const directory = labDirectory(name);
    await buildNodes({ labPid, directory, plan, hosts, programs, agentSettings, hostInit });
  }

  #finish(options: LabOptions): void {
    updateState({ ...this.#state, ready: true });
    if (options.keep) this.#launched?.keep();
  }

  get name(): string {
    return this.#state.name;
  }

  get plan(): LabPlan {
    return this.#state.plan;
  }

  get endpoints(): readonly string[] {
    return this.plan.config.store.endpoints;
  }

  /** First process of the lab: all else ends with it. */
  get pid(): number {
    return this.#state.pid;
  }

  /** A path another process can reach a node's network namespace by. */
  namespacePath(node: string): string {
    return namespacePath(this.#state.pid, node);
  }

  /** File behind a LUN, as node `storage` sees it. */
  backingFile(target: string, lun: number): string {
    const found = this.plan.targets
      .find((one) => one.target === target)
      ?.luns.find((one) => one.lun === lun);
    if (found === undefined) throw new Error(`the lab has no LUN ${lun} of ${target}`);
    return `${labDirectory(this.name)}/${found.file}`;
  }

  /** First process of a host that has power; undefined for one that has none. */
  pidOf(host: string): number | undefined {
    return this.#host(host).process?.pid;
  }

  /**
   * A command in a node: a host, a client, `storage`, `ctl`, `sw`, an edge or an etcd node. Nodes
   * that are no hosts share the machine's files: a command in one starts in our working directory.
   *
   * @throws {UnderstudyError} US_LAB_NODE, US_LAB_NO_POWER
   */
  command(node: string, argv: readonly string[]): NodeCommand {
    const host = this.#hosts.get(node);
    if (host !== undefined) return host.command(argv);
    if (!this.nodes.includes(node)) throw unknownNode(node, this.nodes);
    const { pid } = this.#state;
    const here = process.cwd();
    return insideLab(pid, node, argv, existsSync(`/proc/${pid}/root${here}`) ? here : '/');
  }

  /** The same for a personality that runs on this host. */
  personalityCommand(host: string, name: string, argv: readonly string[]): NodeCommand {
    return this.command(host, [...enterPersonalityCommand(name, '/run/understudy'), ...argv]);
  }

  get nodes(): readonly string[] {
    const { hosts, etcd, edges } = this.plan;
    return [
      controlNode.name,
      switchNode,
      storageNode.name,
      ...hosts.map(({ name }) => name),
      ...etcd.map(({ node }) => node),
      ...edges.flatMap(({ node, clients }) => [node, ...clients.map((client) => client.node)]),
    ];
  }

  /** Its signals and exit code are the command's own. */
  spawn(command: NodeCommand, options: SpawnOptions = {}): ChildProcess {
    return spawnInside(command, { stdio: ['ignore', 'pipe', 'pipe'], ...options });
  }

  exec(command: NodeCommand): Promise<Ran> {
    return collect(this.spawn(command, { stdio: ['pipe', 'pipe', 'pipe'] }));
  }

  /** What faults are done to. @throws {UnderstudyError} US_LAB_NODE */
  machine(node: string): Machine {
    const found = this.#machines.get(node);
    if (found === undefined) throw unknownNode(node, [...this.#machines.keys()]);
    return found;
  }

  /**
   * A power cut, of several in the same instant: on a busy machine it takes a while until each one's own
   * is begun, so before that the links of all go dead in one step.
   *
   * @throws {UnderstudyError} US_LAB_NODE, US_LAB_NO_POWER, US_LAB_STUCK
   */
  async kill(...nodes: readonly string[]): Promise<void> {
    const machines = nodes.map((node) => this.machine(node));
    const hosts = this.plan.hosts.filter(
      ({ name }) => nodes.includes(name) && this.pidOf(name) !== undefined,
    );
    if (hosts.length > 1) await runBatch(this.pid, 'cut the power', cutPower(hosts));
    await Promise.all(machines.map((machine) => machine.cut()));
    await removeUnboundLoops();
  }

  /** Power again: of a host fresh namespaces, the same addresses. @throws {UnderstudyError} US_LAB_POWER */
  start(node: string): Promise<void> {
    return this.machine(node).powerOn();
  }

  /** Stops every process of the node; its kernel goes on. @returns how many are stopped */
  pause(node: string): Promise<number> {
    return this.machine(node).pause();
  }

  resume(node: string): Promise<number> {
    return this.machine(node).resume();
  }

  /** Whether a host that has power is paused. @throws {UnderstudyError} US_LAB_NODE */
  isPaused(host: string): Promise<boolean> {
    return this.#host(host).isPaused();
  }

  partition(
    node: string,
    networks: readonly Network[],
    direction: Direction = 'both',
  ): Promise<void> {
    return this.machine(node).partition(networks, direction);
  }

  heal(node: string): Promise<void> {
    return this.machine(node).heal();
  }

  /** So many processes that only burn CPU, instead of those of an earlier call. */
  load(processes: number): Promise<void> {
    return loadLab(this.#state.pid, labDirectory(this.name), processes);
  }

  /** Ends everything. The kernel takes namespaces, mounts, pins and devices away with it. */
  async down(): Promise<void> {
    if (!(await killAndWait(this.#state, goneMs))) {
      throw new UnderstudyError({
        code: 'US_LAB_STUCK',
        action: 'cannot end lab',
        object: this.name,
        cause: `it still has processes ${goneMs} ms after SIGKILL`,
        remedy: 'see what they wait for: ps -eo pid,stat,wchan,args',
      });
    }
    this.#launched?.close();
    await this.#removeLioTargets();
    removeState(this.#state);
    await removeUnboundLoops();
  }

  /** The kernel keeps these when a lab ends: this one's, and what others left that run no more. */
  async #removeLioTargets(): Promise<void> {
    if (this.plan.targetKind !== 'lio') return;
    const others = runningLabs().filter(({ pid }) => pid !== this.pid);
    await removeLioTargets(others.map(({ name }) => name));
  }

  /** A file of the lab, from inside: logs are in `logs/`. */
  readFile(path: string): string {
    return readFileSync(`/proc/${this.#state.pid}/root${labDirectory(this.name)}/${path}`, 'utf8');
  }

  #host(name: string): Host {
    const found = this.#hosts.get(name);
    if (found === undefined) throw unknownNode(name, [...this.#hosts.keys()]);
    return found;
  }
}

const checkoutPath = new URL('../../..', import.meta.url).pathname.replace(/\/$/, '');
const neededPaths = [checkoutPath, process.execPath];

async function hostInitOf(
  backend: LabConfig['backend'],
  { signal, say }: LabOptions,
): Promise<string> {
  if (backend === 'netns') return ownHostInit;
  say('making sure of the virtual machines’ image; the first time that takes minutes');
  return vmHostInit(await vmImage(signal));
}

function unknownNode(name: string, known: readonly string[]): UnderstudyError {
  return new UnderstudyError({
    code: 'US_LAB_NODE',
    action: 'cannot find',
    object: name,
    cause: 'the lab has no such node',
    remedy: `one of: ${known.join(', ')}`,
  });
}
