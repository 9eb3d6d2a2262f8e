import { ClusterWatch } from '../agent/cluster-watch.js';
import { statusFrom } from '../cli/run/status.js';
import { configOf } from '../control/view.js';
import { within } from '../deadline.js';
import { UnderstudyError } from '../errors.js';
import { enterNetworkNamespace } from '../ffi/namespace.js';
import { EtcdStore } from '../store/etcd.js';
import type { NodeCommand } from './inside.js';
import type { Lab } from './lab.js';
import type { Cut, Step } from './scenario.js';
import type { ScenarioWorld } from './scenario-run.js';
import type { Ran } from './shell.js';

const snapshotMs = 10_000;

/** A lab and the cluster that runs in it. Opening moves this process into the lab's control node. */
export class ClusterWorld implements ScenarioWorld {
  readonly #lab: Lab;
  readonly #store: EtcdStore;
  readonly #watch: ClusterWatch;
  readonly #signal: AbortSignal;
  readonly #stop = new AbortController();

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
      world.#watch.start(AbortSignal.any([signal, world.#stop.signal]));
      await world.#watch.until(() => world.#watch.known, within(snapshotMs));
    } catch (thrown) {
      await world.close();
      throw thrown;
    }
    return world;
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

  async act(step: Exclude<Step, { kind: 'exec' | 'wait' }>): Promise<void> {
    const { host } = step;
    switch (step.kind) {
      case 'kill':
        return this.#lab.kill(host);
      case 'start':
        return this.#lab.start(host);
      case 'heal':
        return this.#lab.heal(host);
      case 'partition':
        return this.#lab.partition(host, devices[step.cut]);
      case 'pause':
        await this.#lab.pause(host);
        return;
      case 'resume':
        await this.#lab.resume(host);
        return;
    }
  }

  async until(holds: (status: unknown) => boolean, withinMs: number): Promise<boolean> {
    const timeout = within(withinMs);
    const signal = AbortSignal.any([this.#signal, this.#stop.signal, timeout]);
    while (!signal.aborted) {
      const changed = this.#nextChange(signal);
      // The leader's name is not part of the view; whenever it changes an event is written, too.
      const leader = await this.#store.holder('leader').catch(() => undefined);
      const { view } = this.#watch;
      if (configOf(view) !== undefined && holds(statusFrom(view, leader))) return true;
      await changed;
    }
    if (!timeout.aborted) signal.throwIfAborted();
    return false;
  }

  /** Resolves with the next change of the view, or when the signal aborts. */
  #nextChange(signal: AbortSignal): Promise<void> {
    let looked = false;
    const changed = () => {
      // The first look is at once, before anything can have changed.
      const before = looked;
      looked = true;
      return before;
    };
    return this.#watch.until(changed, signal).catch(() => undefined);
  }
}

const devices: Readonly<Record<Cut, readonly ('eth1' | 'eth2')[]>> = {
  internal: ['eth1'],
  storage: ['eth2'],
  all: ['eth1', 'eth2'],
};
