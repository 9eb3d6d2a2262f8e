import { ClusterWatch } from '../agent/cluster-watch.js';
import { statusFrom } from '../cli/run/status.js';
import { configOf, type View } from '../control/view.js';
import { within } from '../deadline.js';
import { UnderstudyError } from '../errors.js';
import { enterNetworkNamespace } from '../ffi/namespace.js';
import { officeKey } from '../store/campaign.js';
import { EtcdStore } from '../store/etcd.js';
import { lookUp } from './condition.js';
import { etcdLeader } from './etcd.js';
import type { NodeCommand } from './inside.js';
import type { Lab } from './lab.js';
import type { Ran } from './shell.js';

const snapshotMs = 10_000;

/** A lab and the cluster that runs in it. Opening moves this process into the lab's control node. */
export class ClusterWorld {
  readonly #lab: Lab;
  readonly #store: EtcdStore;
  readonly #watch: ClusterWatch;
  readonly #signal: AbortSignal;
  readonly #stop = new AbortController();
  readonly #looks = new Set<() => void>();
  #leader: string | undefined;

  private constructor(lab: Lab, signal: AbortSignal) {
    this.#lab = lab;
    this.#signal = signal;
    this.#store = new EtcdStore({
      endpoints: lab.endpoints,
      prefix: `/understudy/${lab.plan.config.cluster}/`,
      identity: `lab-${process.pid}`,
    });
    this.#watch = new ClusterWatch(this.#store);
  }

  static async open(lab: Lab, signal: AbortSignal): Promise<ClusterWorld> {
    enterNetworkNamespace(lab.namespacePath('ctl'));
    const world = new ClusterWorld(lab, signal);
    try {
      await world.#store.start(signal);
      const ends = AbortSignal.any([signal, world.#stop.signal]);
      world.#watch.onChange(() => world.#look());
      world.#watchLeader(ends);
      world.#watch.start(ends);
      await world.#watch.until(() => world.#watch.known, within(snapshotMs));
    } catch (thrown) {
      await world.close();
      throw thrown;
    }
    return world;
  }

  get view(): View {
    return this.#watch.view;
  }

  /** Called at each change of the view. */
  onChange(look: (view: View) => void): void {
    this.#watch.onChange(look);
  }

  async close(): Promise<void> {
    this.#stop.abort();
    await this.#store.stop();
  }

  /** argv that runs a command in a node, or in a personality on the host that has it now. */
  async command(node: string, argv: readonly string[]): Promise<NodeCommand> {
    if (this.#lab.nodes.includes(node)) return this.#lab.command(node, argv);
    const assignment = this.#watch.view.assignments.get(`personality/${node}`)?.value;
    if (assignment?.host) return this.#lab.personalityCommand(assignment.host, node, argv);
    const personalities = configOf(this.#watch.view)?.personalities.map(({ name }) => name) ?? [];
    const unplaced = personalities.includes(node);
    throw new UnderstudyError({
      code: 'US_LAB_NODE',
      action: 'cannot run a command in',
      object: node,
      cause: unplaced ? 'no host has this personality now' : 'the lab has no such node',
      remedy: unplaced
        ? 'understudy status tells why'
        : `one of: ${[...this.#lab.nodes, ...personalities].join(', ')}`,
    });
  }

  async exec(node: string, argv: readonly string[], withinMs: number): Promise<Ran> {
    const bounded = ['timeout', '--signal=KILL', (withinMs / 1_000).toFixed(3), ...argv];
    return this.#lab.exec(await this.command(node, bounded));
  }

  /** A node by its name, or by its office: `leader`, `etcd-leader`. */
  async node(name: string): Promise<string> {
    if (name === 'etcd-leader') return etcdLeader(this.#lab);
    if (name !== 'leader' || this.#lab.nodes.includes(name)) return name;
    const leader = await this.#store.holder('leader');
    if (leader !== undefined) return leader;
    throw new UnderstudyError({
      code: 'US_LAB_NODE',
      action: 'cannot find',
      object: name,
      cause: 'no controller is leader now',
      remedy: 'wait for one: {wait: {for: {leader: {not: null}}}}',
    });
  }

  async value(path: string): Promise<string> {
    if (path === 'leader' || path === 'etcd-leader') return this.node(path);
    const found = lookUp(this.#status(), path);
    if (typeof found === 'string' || typeof found === 'number') return String(found);
    throw new UnderstudyError({
      code: 'US_LAB_SCENARIO',
      action: 'cannot note',
      object: path,
      cause: `it is ${found === undefined ? 'not there' : JSON.stringify(found)}, no word or number`,
      remedy: 'name a place in status --json that holds one, such as personalities.web1.host',
    });
  }

  async until(holds: (status: unknown) => boolean, withinMs: number): Promise<boolean> {
    const timeout = within(withinMs);
    const signal = AbortSignal.any([this.#signal, this.#stop.signal, timeout]);
    const held = await new Promise<boolean>((resolve) => {
      const look = () => {
        if (signal.aborted) end(false);
        else if (configOf(this.view) !== undefined && holds(this.#status())) end(true);
      };
      const end = (result: boolean) => {
        this.#looks.delete(look);
        signal.removeEventListener('abort', look);
        resolve(result);
      };
      this.#looks.add(look);
      signal.addEventListener('abort', look);
      look();
    });
    if (!held && !timeout.aborted) signal.throwIfAborted();
    return held;
  }

  #status(): unknown {
    return statusFrom(this.view, this.#leader);
  }

  #look(): void {
    for (const look of this.#looks) look();
  }

  /** The office is no part of the view: it is watched beside it. */
  #watchLeader(signal: AbortSignal): void {
    const key = officeKey('leader');
    const know = (leader: string | undefined) => {
      this.#leader = leader;
      this.#look();
    };
    this.#store.watch(
      key,
      {
        snapshot: ({ entries }) => know(entries.find((entry) => entry.key === key)?.value),
        changes: (changes) => {
          const last = changes.at(-1);
          if (last !== undefined) know(last.kind === 'put' ? last.entry.value : undefined);
        },
      },
      signal,
    );
  }
}
