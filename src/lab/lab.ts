import { type ChildProcess, type SpawnOptions, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { mkdirSync, readFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { applyConfig, waitUntilSettled } from '../cli/run/apply.js';
import type { ClusterConfig, LabConfig } from '../config/types.js';
import { within } from '../deadline.js';
import { messageOf, UnderstudyError } from '../errors.js';
import { enterNetworkNamespace } from '../ffi/namespace.js';
import { EtcdStore } from '../store/etcd.js';
import { enterPersonalityCommand } from '../workload/enter.js';
import { hostFiles, targetFile } from './files.js';
import { type NodeCommand, spawnInside } from './inside.js';
import { type LabHost, type LabPlan, planLab } from './plan.js';
import { continueAll, findInit, killAndWait, startTimeOf, stopAll } from './processes.js';
import { checkRequirements } from './requirements.js';
import {
  bootHost,
  buildHost,
  buildNetwork,
  hostInit,
  labInit,
  portName,
  startEtcd,
  startTarget,
  startTargetDaemon,
} from './scripts.js';
import { collect, type Ran, runScript } from './shell.js';
import { type LabState, labDirectory, readState, removeState, writeState } from './state.js';

export interface LabOptions {
  readonly name: string;
  readonly config: ClusterConfig;
  readonly lab: LabConfig;
  readonly signal: AbortSignal;
  readonly say: (line: string) => void;
  /** true: it stays when this process ends. false: it ends with this process, however that ends. */
  readonly keep?: boolean;
  /** Changes to every agent's configuration file, e.g. `{announce: false}`. */
  readonly agentSettings?: Readonly<Record<string, unknown>>;
  /** How long until everything has to run. Default 60 000. */
  readonly settleMs?: number;
}

const goneMs = 10_000;
const etcdMs = 20_000;
const hostBootMs = 10_000;

/** A little data centre inside one PID and mount namespace of this machine. */
export class Lab {
  readonly #state: LabState;
  /** The process that waits for the lab's PID 1; known only to who started the lab. */
  readonly #launcher: ChildProcess | undefined;

  private constructor(state: LabState, launcher?: ChildProcess) {
    this.#state = state;
    this.#launcher = launcher;
  }

  /** A lab that runs already. */
  static attach(state: LabState): Lab {
    return new Lab(state);
  }

  /**
   * Builds it and waits until every personality and service runs. Whatever goes wrong on the way,
   * nothing is left. Moves this process's network into the lab's control node.
   */
  static async up(options: LabOptions): Promise<Lab> {
    checkRequirements();
    const { name, signal, say } = options;
    if (readState(name) !== undefined) {
      throw new UnderstudyError({
        code: 'US_LAB_RUNNING',
        action: 'cannot start lab',
        object: name,
        cause: 'one of this name runs',
        remedy: 'understudy lab down, or give this one another name',
      });
    }
    const plan = planLab(name, options.config, options.lab);
    const { launcher, pid } = await launch(name);
    const state = { name, pid, startTime: startTimeOf(pid) ?? '', plan };
    const lab = new Lab(state, launcher);
    try {
      writeState(state);
      await lab.#build(options, say);
      signal.throwIfAborted();
      if (options.keep) {
        launcher.stdin?.end('keep\n');
        launcher.unref();
      }
      return lab;
    } catch (thrown) {
      await lab.down();
      throw thrown;
    }
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

  /** A path another process can reach a node's network namespace by. */
  namespacePath(node: string): string {
    return `/proc/${this.#state.pid}/root/run/netns/${node}`;
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
    this.#host(host);
    return findInit(`${labDirectory(this.name)}/host-init`, host, this.#state.pid);
  }

  /** A command in a node: a host, a client, `storage`, `ctl`, `sw`, an etcd node. */
  command(node: string, argv: readonly string[]): NodeCommand {
    if (this.plan.hosts.some(({ name }) => name === node)) {
      const pid = this.pidOf(node);
      if (pid === undefined) throw noPower(node);
      const enter = ['nsenter', '-t', String(pid), '-m', '-u', '-n', '--wdns=/', '--'];
      return { argv: [...enter, ...argv], pidNamespace: `/proc/${pid}/ns/pid` };
    }
    if (!this.nodes.includes(node)) throw unknownNode(node, this.nodes);
    const { pid } = this.#state;
    const enter = ['nsenter', '-t', String(pid), '-m', `--net=${this.namespacePath(node)}`];
    return { argv: [...enter, '--wdns=/', '--', ...argv], pidNamespace: `/proc/${pid}/ns/pid` };
  }

  /** The same for a personality that runs on this host. */
  personalityCommand(host: string, name: string, argv: readonly string[]): NodeCommand {
    return this.command(host, [...enterPersonalityCommand(name, '/run/understudy'), ...argv]);
  }

  get nodes(): readonly string[] {
    const { hosts, etcd, edges } = this.plan;
    return [
      'ctl',
      'sw',
      'storage',
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

  /**
   * A power cut: the links to both networks go dead first, then the host's first process is killed,
   * and with it, by the kernel, every other one. Nothing is flushed on the way.
   */
  async kill(host: string): Promise<void> {
    this.#host(host);
    const pid = this.pidOf(host);
    if (pid === undefined) throw noPower(host);
    await this.#links(host, 'down', ['eth2', 'eth1']);
    if (!(await killAndWait(pid, goneMs))) throw new Error(`${host} does not die`);
    // The kernel takes a namespace down in its own time; the ports are to be free at once.
    const ports = ['eth1', 'eth2'].map((device) => `ip -n sw link del ${portName(host, device)}`);
    const script = [`ip netns del ${host}`, ...ports].join('\n');
    await runScript(this.#state.pid, `remove the namespaces of ${host}`, script);
  }

  /** Power again: fresh namespaces, the same addresses. */
  async start(host: string): Promise<void> {
    const found = this.#host(host);
    if (this.pidOf(host) !== undefined) {
      throw new UnderstudyError({
        code: 'US_LAB_POWER',
        action: 'cannot start',
        object: host,
        cause: 'it has power',
        remedy: 'understudy lab kill cuts it',
      });
    }
    await this.#boot([found]);
  }

  /** Stops every process of the host, as a hypervisor would. Its kernel goes on. */
  pause(host: string): number {
    return stopAll(this.#powered(host));
  }

  resume(host: string): number {
    return continueAll(this.#powered(host));
  }

  async partition(host: string, networks: readonly ('eth1' | 'eth2')[]): Promise<void> {
    this.#powered(host);
    await this.#links(host, 'down', networks);
  }

  async heal(host: string): Promise<void> {
    this.#powered(host);
    await this.#links(host, 'up', ['eth1', 'eth2']);
  }

  /** Ends everything. The kernel takes namespaces, mounts, pins and devices away with it. */
  async down(): Promise<void> {
    if (!(await killAndWait(this.#state.pid, goneMs))) throw new Error('the lab does not end');
    this.#launcher?.stdin?.destroy();
    removeState(this.name);
  }

  /** A file of the lab, from inside: logs are in `logs/`. */
  readFile(path: string): string {
    return readFileSync(`/proc/${this.#state.pid}/root${labDirectory(this.name)}/${path}`, 'utf8');
  }

  async #build(options: LabOptions, say: (line: string) => void): Promise<void> {
    const { pid, plan } = this.#state;
    const directory = labDirectory(this.name);
    const program = `${process.execPath} ${checkoutPath}/bin/understudy`;
    await runScript(pid, 'build the networks', buildNetwork(plan));
    await runScript(pid, 'start etcd', startEtcd(directory, plan));
    const key = randomBytes(32).toString('base64');
    const init = hostInit(checkoutPath, {
      agent: `${program} agent --config /etc/understudy/agent.yaml`,
      pulse: `${program} pulse --config /etc/understudy/pulse.yaml`,
    });
    const files = [
      { path: 'host-init', content: init },
      { path: 'target.yaml', content: targetFile(plan, directory) },
      ...plan.hosts.flatMap((host) => hostFiles(plan, host, key, options.agentSettings ?? {})),
    ];
    await runScript(pid, 'write configuration', writeFiles(directory, files));
    await Promise.all([
      this.#boot(plan.hosts),
      runScript(pid, 'start the iSCSI target', startTarget(directory, plan)),
    ]);
    enterNetworkNamespace(this.namespacePath('ctl'));
    const store = new EtcdStore({
      endpoints: this.endpoints,
      prefix: `/understudy/${plan.config.cluster}/`,
      identity: 'lab',
    });
    try {
      await store.list('config', { budgetMs: etcdMs, signal: options.signal });
      await applyConfig(store, plan.config);
      await runScript(
        pid,
        'start the target daemon',
        startTargetDaemon(directory, `${program} target`),
      );
      say('nodes are up; waiting until every personality runs');
      const settleMs = options.settleMs ?? 60_000;
      const bound = within(settleMs, options.signal);
      await waitUntilSettled(store, bound).catch((thrown: unknown) => {
        options.signal.throwIfAborted();
        throw new UnderstudyError({
          code: 'US_LAB_SETTLE',
          action: 'cannot bring up lab',
          object: this.name,
          cause: `not everything ran within ${settleMs} ms: ${messageOf(thrown)}\n${this.#lastWords()}`,
          remedy: 'look at the agents’ last words above',
        });
      });
    } finally {
      await store.stop();
    }
  }

  /** The ends of the agents' logs, for an error: the logs go with the lab. */
  #lastWords(): string {
    return [...this.plan.hosts.map(({ name }) => `${name}-agent`), 'target']
      .map((name) => {
        try {
          return `-- ${name}\n${this.readFile(`logs/${name}.log`).split('\n').slice(-6).join('\n')}`;
        } catch {
          return `-- ${name}: no log`;
        }
      })
      .join('\n');
  }

  async #boot(hosts: readonly LabHost[]): Promise<void> {
    const { pid } = this.#state;
    const directory = labDirectory(this.name);
    const names = hosts.map(({ name }) => name).join(', ');
    await runScript(pid, `wire ${names}`, hosts.map(buildHost).join('\n'));
    await runScript(
      pid,
      `start ${names}`,
      hosts.map(({ name }) => bootHost(directory, name)).join('\n'),
    );
    const endMs = performance.now() + hostBootMs;
    // The first process of a namespace appears in /proc without an event; this takes some ms.
    while (hosts.some(({ name }) => this.pidOf(name) === undefined)) {
      if (performance.now() > endMs) throw new Error(`no first process on ${names}`);
      await new Promise((resolve) => {
        setTimeout(resolve, 5);
      });
    }
  }

  async #links(host: string, state: 'up' | 'down', devices: readonly string[]): Promise<void> {
    const lines = devices.map((device) => `link set ${portName(host, device)} ${state}`).join('\n');
    const argv = [`--net=${this.namespacePath('sw')}`, 'ip', '-batch', '-'];
    const ran = await collect(spawn('nsenter', argv, { stdio: ['pipe', 'pipe', 'pipe'] }), lines);
    if (ran.code !== 0) throw new Error(`links of ${host}: ${ran.stderr}`);
  }

  #host(name: string): LabHost {
    const hosts = this.plan.hosts;
    const found = hosts.find((host) => host.name === name);
    if (found === undefined)
      throw unknownNode(
        name,
        hosts.map((host) => host.name),
      );
    return found;
  }

  #powered(host: string): number {
    const pid = this.pidOf(host);
    if (pid === undefined) throw noPower(host);
    return pid;
  }
}

const checkoutPath = new URL('../../..', import.meta.url).pathname.replace(/\/$/, '');

/** Starts the lab's first process and waits until it has its mounts. */
async function launch(name: string): Promise<{ launcher: ChildProcess; pid: number }> {
  mkdirSync(labDirectory(name), { recursive: true, mode: 0o700 });
  const launcher = spawn(
    'unshare',
    [
      ...['--mount', '--pid', '--fork', '--kill-child', '--propagation', 'private'],
      ...['bash', '-c', labInit(labDirectory(name))],
    ],
    { stdio: ['pipe', 'pipe', 'pipe'], detached: true },
  );
  let said = '';
  launcher.stderr?.on('data', (chunk: Buffer) => {
    said = (said + chunk.toString()).slice(-2_000);
  });
  await new Promise<void>((resolve, reject) => {
    if (launcher.stdout === null) return reject(new Error('no pipe to the lab'));
    createInterface({ input: launcher.stdout }).once('line', () => resolve());
    launcher.once('error', reject);
    launcher.once('exit', () => {
      removeState(name);
      reject(new Error(`the lab's first process ended: ${said}`));
    });
  });
  const children = readFileSync(`/proc/${launcher.pid}/task/${launcher.pid}/children`, 'utf8');
  return { launcher, pid: Number(children.trim().split(' ')[0]) };
}

function writeFiles(
  directory: string,
  files: readonly { readonly path: string; readonly content: string }[],
): string {
  // Through base64: contents are anything, the shell reads none of them.
  return files
    .map(({ path, content }) => {
      const text = Buffer.from(content).toString('base64');
      return `mkdir -p "$(dirname ${directory}/${path})" && (umask 077; echo ${text} | base64 -d > ${directory}/${path})`;
    })
    .join('\n');
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

function noPower(host: string): UnderstudyError {
  return new UnderstudyError({
    code: 'US_LAB_NO_POWER',
    action: 'cannot reach',
    object: host,
    cause: 'it has no power',
    remedy: `understudy lab start ${host}`,
  });
}
