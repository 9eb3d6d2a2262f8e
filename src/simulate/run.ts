import type { Log } from '../agent/loop.js';
import type { ClusterConfig } from '../config/types.js';
import type { Violation } from './checks/check.js';
import type { Gap } from './checks/service-times.js';
import type { Fault } from './fault.js';
import { allFaultKinds, faultKinds } from './faults.js';
import { Judge } from './judge.js';
import { chosenKinds } from './kinds.js';
import { Random } from './random.js';
import type { Sabotage } from './sabotage.js';
import { msNs } from './time.js';
import { World } from './world.js';

/** From power on until everything works, and from the last fault until everything works again. */
export const liveBoundMs = 30_000;
/** Where leases are not enforced, power fencing with its brakes (5 min at most) is in the way. */
export const unenforcedBoundMs = 1_200_000;
/** Never more than this between one fault and the next. */
const longestPauseMs = 5_000;
const longestFaultMs = 25_000;
/** What works again must go on working: several times as long as anything that is tried again. */
export const watchedMs = 5_000;

export interface RunOptions {
  readonly config: ClusterConfig;
  readonly seed: number;
  /** How many faults. */
  readonly faults: number;
  /** Of which kinds; default: those that the seed chooses (src/simulate/kinds.ts). */
  readonly kinds?: readonly string[];
  readonly sabotage?: Sabotage;
  /** Hosts that lose power at that time after everything works, for good. */
  readonly kills?: readonly { readonly host: string; readonly atMs: number }[];
  readonly log?: Log;
  readonly signal?: AbortSignal;
  /** Told of everything worth a line. */
  tell?(atMs: number, text: string): void;
}

export interface RunResult {
  readonly seed: number;
  readonly faults: readonly {
    readonly kind: string;
    readonly text: string;
    readonly atMs: number;
  }[];
  readonly gaps: readonly Gap[];
  readonly violations: readonly Violation[];
  readonly simulatedMs: number;
  readonly events: number;
  /** From the end of the last fault until everything worked; undefined when it never did. */
  readonly recoveredMs: number | undefined;
}

const quiet: Log = { debug() {}, info() {}, warn() {}, error() {} };

/** One seed: everything starts, things go wrong, everything must work again. */
export async function run(options: RunOptions): Promise<RunResult> {
  return new Run(options).go();
}

class Run {
  readonly #options: RunOptions;
  readonly #judge = new Judge(({ role, from, to, startMs, endMs }) =>
    this.#tell(
      `${role} works on ${to}, ${(endMs - startMs).toFixed(1)} ms after it stopped on ${from}`,
    ),
  );
  readonly #random: Random;
  readonly #world: World;
  readonly #faults: { kind: string; text: string; atMs: number }[] = [];
  readonly #active = new Set<Fault>();
  readonly #kinds: readonly string[];

  constructor(options: RunOptions) {
    const { config, seed, sabotage = {}, log = quiet } = options;
    this.#options = options;
    this.#random = new Random(seed, 'faults');
    this.#kinds = options.kinds ?? chosenKinds(Object.keys(faultKinds), new Random(seed, 'kinds'));
    this.#world = new World({
      config,
      seed,
      sabotage,
      log,
      witness: this.#judge,
      changed: () => this.#judge.change(),
    });
    this.#judge.watch(this.#world);
  }

  async go(): Promise<RunResult> {
    try {
      return await this.#go();
    } finally {
      this.#world.end();
    }
  }

  async #go(): Promise<RunResult> {
    this.#world.boot();
    await this.#untilAllWork('after power on');
    const { kills = [] } = this.#options;
    for (const { host, atMs } of kills) this.#kill(host, atMs);
    if (kills.length > 0) await this.#pass(1 + Math.max(...kills.map(({ atMs }) => atMs)));
    for (let count = 0; count < this.#options.faults && this.#goesOn; count++) {
      await this.#pass(this.#pauseMs());
      this.#inject();
    }
    // Sometimes the last ones are left to end by themselves: a long one must be coped with while it lasts.
    if (this.#random.chance(0.3)) await this.#pass(longestFaultMs, () => this.#active.size === 0);
    for (const fault of [...this.#active]) this.#end(fault);
    this.#bootTheOthers();
    const recoveredMs = await this.#untilAllWork('after the last fault');
    await this.#untilUnchanging();
    await this.#pass(watchedMs);
    const { time } = this.#world;
    return {
      seed: this.#options.seed,
      faults: this.#faults,
      gaps: this.#judge.times.gaps,
      violations: this.#judge.violations,
      simulatedMs: time.nowNs / msNs,
      events: time.events,
      recoveredMs,
    };
  }

  /** Hosts that were switched off by fencing: somebody looks after them. */
  #bootTheOthers(): void {
    const killed = new Set((this.#options.kills ?? []).map(({ host }) => host));
    for (const host of this.#world.hosts.values()) if (!killed.has(host.name)) host.boot();
  }

  get #boundMs(): number {
    return this.#world.config.fencing.enforce ? liveBoundMs : unenforcedBoundMs;
  }

  get #nowMs(): number {
    return this.#world.time.nowNs / msNs;
  }

  get #goesOn(): boolean {
    return this.#judge.violations.length === 0 && !this.#options.signal?.aborted;
  }

  async #pass(durationMs: number, until: () => boolean = () => false): Promise<void> {
    if (!this.#goesOn || durationMs <= 0) return;
    await this.#world.time.runUntil(this.#world.time.nowNs + durationMs * msNs, () => {
      this.#judge.look();
      return this.#goesOn && !until();
    });
  }

  /** @returns how long it took; undefined when it took too long */
  async #untilAllWork(when: string): Promise<number | undefined> {
    const startMs = this.#nowMs;
    const { times } = this.#judge;
    await this.#pass(this.#boundMs, () => times.allWork);
    if (!this.#goesOn) return undefined;
    if (times.allWork) {
      this.#tell(`everything works, ${(this.#nowMs - startMs).toFixed(0)} ms ${when}`);
      return this.#nowMs - startMs;
    }
    this.#judge.violations.push({
      invariant: 'live',
      atMs: this.#nowMs,
      text: `${times.notWorking.join(', ')} not working ${this.#boundMs} ms ${when}`,
    });
    return undefined;
  }

  /** A change of controllers ends too, once nothing is in its way. */
  async #untilUnchanging(): Promise<void> {
    const { store } = this.#judge;
    await this.#pass(this.#boundMs, () => !store.changing);
    if (!this.#goesOn || !store.changing) return;
    const text = `controllers are still being changed ${this.#boundMs} ms after everything works`;
    this.#judge.violations.push({ invariant: 'live', atMs: this.#nowMs, text });
  }

  /** Mostly soon, while the last one is still being dealt with. */
  #pauseMs(): number {
    const random = this.#random;
    return random.chance(0.5) ? random.between(0, 500) : random.between(0, longestPauseMs);
  }

  /** Where nothing more of these kinds can go wrong, what has been wrong longest is over now. */
  #inject(): void {
    while (this.#goesOn) {
      const fault = this.#makeFault();
      if (fault !== undefined) {
        this.#begin(fault);
        return;
      }
      const [longest] = this.#active;
      if (longest === undefined) return;
      this.#end(longest);
    }
  }

  #makeFault(): Fault | undefined {
    for (let attempt = 0; attempt < 20; attempt++) {
      const kind = this.#random.pick(this.#kinds);
      const fault = allFaultKinds[kind]?.(this.#world, this.#random);
      if (fault !== undefined) return fault;
    }
    return undefined;
  }

  #begin(fault: Fault): void {
    const { kind, text, parts, lastsMs } = fault;
    this.#faults.push({ kind, text, atMs: this.#nowMs });
    this.#tell(`${text}${lastsMs > 0 ? `, for ${lastsMs.toFixed(0)} ms` : ''}`);
    this.#world.troubles.begin(parts);
    this.#active.add(fault);
    fault.begin();
    this.#judge.change();
    if (lastsMs === 0) this.#end(fault);
    else this.#world.time.after(lastsMs * msNs, () => this.#end(fault));
  }

  #end(fault: Fault): void {
    if (!this.#active.delete(fault)) return;
    this.#world.troubles.end(fault.parts);
    if (fault.lastsMs > 0) this.#tell(`over: ${fault.text}`);
    fault.end();
    this.#judge.change();
  }

  #kill(name: string, atMs: number): void {
    const host = this.#world.host(name);
    this.#world.time.after(atMs * msNs, () => {
      this.#faults.push({ kind: 'power-cut', text: `power cut of ${name}`, atMs: this.#nowMs });
      this.#tell(`power cut of ${name}`);
      this.#world.troubles.begin([`host:${name}`]);
      host.powerOff();
      this.#judge.change();
    });
  }

  #tell(text: string): void {
    this.#options.tell?.(this.#nowMs, text);
  }
}
