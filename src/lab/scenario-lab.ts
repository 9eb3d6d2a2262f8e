import { configOf } from '../control/view.js';
import { UnderstudyError } from '../errors.js';
import { bootNs } from '../ffi/clock.js';
import type { Judge } from '../observe/judge.js';
import { PingWatch } from '../observe/observers.js';
import { describeRival } from '../observe/sightings.js';
import { compactEtcd } from './etcd.js';
import type { Lab } from './lab.js';
import { judgeOf, OwnerLog } from './lab-judge.js';
import type { Network } from './machine.js';
import type { Action, Cut } from './scenario.js';
import type { JudgeResult, Pinged, ScenarioWorld } from './scenario-run.js';
import { ClusterWorld } from './scenario-world.js';
import type { Ran } from './shell.js';

const firstAnswerMs = 10_000;

/** A lab as scenarios act on it, with a judge at its switch for as long as it is open. */
export class ScenarioLab implements ScenarioWorld {
  readonly #lab: Lab;
  readonly #world: ClusterWorld;
  readonly #judge: Judge;
  readonly #owners = new OwnerLog();
  readonly #zeroNs = bootNs();
  readonly #pings = new Map<string, { readonly watch: PingWatch; sinceMs: number }>();

  private constructor(lab: Lab, world: ClusterWorld, judge: Judge) {
    this.#lab = lab;
    this.#world = world;
    this.#judge = judge;
    world.onChange((view) => this.#owners.look(view));
    this.#owners.look(world.view);
  }

  /** Moves this process into the lab's control node. */
  static async open(lab: Lab, signal: AbortSignal): Promise<ScenarioLab> {
    const world = await ClusterWorld.open(lab, signal);
    const config = configOf(world.view) ?? lab.plan.config;
    return new ScenarioLab(lab, world, judgeOf(lab, config));
  }

  async close(): Promise<void> {
    this.#judge.stop();
    await Promise.all([...this.#pings.values()].map(({ watch }) => watch.stop()));
    await this.#world.close();
  }

  exec(node: string, argv: readonly string[], withinMs: number): Promise<Ran> {
    return this.#world.exec(node, argv, withinMs);
  }

  until(holds: (status: unknown) => boolean, withinMs: number): Promise<boolean> {
    return this.#world.until(holds, withinMs);
  }

  value(path: string): Promise<string> {
    return this.#world.value(path);
  }

  /** Names are looked up before the first is done: `together` is at once. */
  async act(actions: readonly Action[]): Promise<void> {
    const ready = await Promise.all(actions.map((action) => this.#prepare(action)));
    await Promise.all(ready.map((perform) => perform()));
  }

  async #prepare(action: Action): Promise<() => Promise<unknown>> {
    const lab = this.#lab;
    switch (action.kind) {
      case 'compact':
        return () => compactEtcd(lab);
      case 'load':
        return () => lab.load(action.processes);
      case 'partition': {
        const node = await this.#world.node(action.node);
        return () => lab.partition(node, networksOf(action.cut), action.direction);
      }
      case 'signal': {
        const daemon = lab.machine(await this.#world.node(action.node)).daemon(action.process);
        return async () => daemon.signal(action.signal);
      }
      case 'restart': {
        const daemon = lab.machine(await this.#world.node(action.node)).daemon(action.process);
        return () => daemon.restart(action.argv && [...action.argv]);
      }
      default: {
        const nodes = await Promise.all(action.nodes.map((name) => this.#world.node(name)));
        if (action.kind === 'kill') return () => lab.kill(...nodes);
        return () => Promise.all(nodes.map((node) => lab[action.kind](node)));
      }
    }
  }

  async ping(node: string, address: string): Promise<void> {
    const spawn = (_: string, argv: readonly string[]) =>
      this.#lab.spawn(this.#lab.command(node, argv));
    await this.#pings.get(address)?.watch.stop();
    const watch = new PingWatch({ spawn }, node, address);
    this.#pings.set(address, { watch, sinceMs: Date.now() });
    await watch.answerAfter(0, firstAnswerMs);
  }

  async answers(address: string, withinMs: number): Promise<Pinged> {
    const pinged = this.#pings.get(address);
    if (pinged === undefined) {
      throw new UnderstudyError({
        code: 'US_LAB_SCENARIO',
        action: 'cannot tell whether',
        object: `${address} answers`,
        cause: 'nobody pings it',
        remedy: `begin with {ping: {node: a client, address: ${address}}}`,
      });
    }
    const { watch, sinceMs } = pinged;
    const untilMs = await watch.answerAfter(Date.now(), withinMs);
    pinged.sinceMs = untilMs;
    return { lost: watch.lostAfter(sinceMs), gapMs: watch.longestGapMs(sinceMs) ?? 0 };
  }

  verdict(): JudgeResult {
    const { rivals, missed, frames, ok } = this.#judge.verdict(
      this.#owners.owners(this.#world.view),
    );
    const faults = [
      ...rivals.map((rival) => describeRival(rival, this.#zeroNs)),
      ...(missed > 0 ? [`the judge itself missed ${missed} frames`] : []),
    ];
    return { ok, frames, faults };
  }
}

/** The networks that a cut is about. */
export function networksOf(cut: Cut): readonly Network[] {
  return cut === 'all' ? ['internal', 'storage'] : [cut];
}
