import { awaited } from '../control/moving.js';
import { rolesToKeepReady } from '../control/readiness.js';
import type { PersonalityReport, ReadyReport, ServiceReport } from '../control/records.js';
import {
  configOf,
  incarnationId,
  parseRoleId,
  type Role,
  roleId,
  type View,
} from '../control/view.js';
import { standingVotes } from '../control/votes.js';
import { within } from '../deadline.js';
import type { NetworkAdapter } from '../network/types.js';
import type { StorageAdapter } from '../storage/types.js';
import { repeat, type Timers } from '../store/timers.js';
import { isWorthTelling } from '../workload/failure-counts.js';
import type { WorkloadAdapter } from '../workload/types.js';
import type { Carried } from './carrying.js';
import type { ClusterWatch } from './cluster-watch.js';
import { networksOfRole } from './forwarding.js';
import type { Hurry } from './hurry.js';
import { type Log, Loop } from './loop.js';
import { PersonalityWork } from './personality-work.js';
import type { RoleParts } from './role-parts.js';
import { ServiceWork } from './service-work.js';
import { wishOf } from './specs.js';
import { type Duty, RoleTask } from './task.js';

const dropBudgetMs = 60_000;
/** All that roles are made of, and that says which to keep ready. */
const newsOfRoles = [
  ...(['config', 'alloc', 'assign', 'hosts', 'report', 'volume', 'drained', 'retired'] as const),
];
/** Preparing for the next failure must not slow down the takeover that is under way. */
const readyDelayMs = 1_000;
/** What stands in the kernel is compared with what should this often, without any news. */
const checkEveryMs = 10_000;

/** All roles on this host: one task each, told what the store wants of it. */
export class Owner {
  readonly #parts: OwnerParts;
  readonly #tasks = new Map<string, RoleTask>();
  readonly #personalities = new Map<string, PersonalityWork>();
  #incarnation: number | undefined;
  readonly #adoption: Loop;
  /** Roles of others that this host keeps ready for. */
  #ready: readonly string[] = [];
  #cancelReady: (() => void) | undefined;
  #adopted = false;
  #endChecks: () => void = () => {};
  /** `host/incarnation` whose roles were about to come here last. */
  #expectedFrom = '';
  #endExpectation: () => void = () => {};

  constructor(parts: OwnerParts) {
    this.#parts = parts;
    this.#adoption = new Loop('adoption', parts, () => this.#adoptOnce());
  }

  start(): void {
    const { watch, host } = this.#parts;
    watch.onChange(() => this.#follow(), newsOfRoles);
    // Targets answer to moves by their masks.
    watch.onChange(
      ({ assignments }) => {
        const all = [...assignments.values()];
        if (all.some(({ value }) => value.host === host && value.state === 'draining'))
          this.#follow();
      },
      ['mask'],
    );
    watch.onChange(() => this.#expect(), ['vote']);
    this.#parts.workload.onFailure((name, times) => this.#tellFailure(name, times));
    this.#endChecks = repeat(this.#parts.timers, checkEveryMs, () => {
      for (const task of this.#tasks.values()) task.check();
    });
  }

  async stop(): Promise<void> {
    this.#cancelReady?.();
    this.#endChecks();
    await this.#adoption.stop();
    await Promise.all([...this.#tasks.values()].map((task) => task.stop()));
  }

  /** This host acts under this incarnation from now on. */
  setIncarnation(incarnation: number): void {
    this.#incarnation = incarnation;
    this.#follow();
  }

  /**
   * Lets go of everything of ours on this host: at an expulsion, and before a new incarnation
   * enrols. Returns only when nothing is left.
   */
  async dropEverything(): Promise<void> {
    this.#incarnation = undefined;
    await this.#adopt(this.#dropBudget());
    await Promise.all([...this.#tasks.values()].map((task) => task.drop()));
    await this.#parts.dropNetworks(this.#dropBudget());
  }

  /** What works here; undefined until it is known what an agent before this one left. */
  carried(): readonly Carried[] | undefined {
    if (!this.#adopted) return undefined;
    return [...this.#tasks].flatMap(([id, { carried }]) =>
      carried === undefined ? [] : [{ id: `${id}@${carried.epoch}`, found: carried.found }],
    );
  }

  get networksInUse(): readonly string[] {
    return [...this.#tasks]
      .filter(([, task]) => task.stands)
      .flatMap(([id]) => networksOfRole(id, this.#parts.watch));
  }

  reports(): {
    personalities: readonly PersonalityReport[];
    services: readonly ServiceReport[];
    ready?: readonly ReadyReport[];
  } {
    const personalities: PersonalityReport[] = [];
    const services: ServiceReport[] = [];
    const ready: ReadyReport[] = [];
    for (const [id, task] of this.#tasks) {
      if (task.readyFor !== undefined) ready.push({ role: id, move: task.readyFor });
      const { name } = task.role;
      const { phase, epoch, detail } = task.state;
      if (phase === 'unplaced') continue;
      if (task.role.kind === 'service') services.push({ name, epoch, phase, detail });
      else {
        const volumes = this.#personalities.get(id)?.volumes ?? [];
        const failures = this.#parts.workload.failures(name);
        const told = failures === undefined ? {} : { failures };
        personalities.push({ name, epoch, phase, detail, volumes, ...told });
      }
    }
    return { personalities, services, ...(ready.length === 0 ? {} : { ready }) };
  }

  /** Personalities that run here now, with their epochs. */
  running(): readonly { readonly name: string; readonly epoch: number }[] {
    return [...this.#tasks.values()]
      .filter((task) => task.role.kind === 'personality' && task.state.phase === 'running')
      .map((task) => ({ name: task.role.name, epoch: task.state.epoch }));
  }

  #tellFailure(personality: string, times: number): void {
    const { count = 0, last = '' } = this.#parts.workload.failures(personality) ?? {};
    if (isWorthTelling(count, times)) {
      const text = `its workload failed, ${count} in a row: ${last}`;
      this.#parts.roleParts().journal.event('workload', personality, text);
    }
    this.#parts.onState();
  }

  #dropBudget(): AbortSignal {
    return within(dropBudgetMs, undefined, this.#parts.timers);
  }

  #follow(): void {
    const { watch } = this.#parts;
    if (this.#incarnation === undefined || !watch.known || configOf(watch.view) === undefined)
      return;
    if (!this.#adopted) {
      this.#adoption.nudge();
      return;
    }
    this.#assign();
  }

  /** With the first vote against the owner of a role that is kept ready here: its commit may be the next news. */
  #expect(): void {
    const { view } = this.#parts.watch;
    for (const id of this.#ready) {
      const { host = null, incarnation = 0 } = view.assignments.get(id)?.value ?? {};
      if (host === null || standingVotes(view, host, incarnation).length === 0) continue;
      const owner = incarnationId(host, incarnation);
      if (this.#expectedFrom === owner) continue;
      this.#expectedFrom = owner;
      this.#endExpectation();
      this.#endExpectation = this.#parts.hurry.begin();
    }
  }

  /** Once they came, here or elsewhere, only what a client waits for is in a hurry: not the workload's start. */
  #expectNoMore(view: View): void {
    const stillTheirs = this.#ready.some((id) => {
      const { host = null, incarnation = 0 } = view.assignments.get(id)?.value ?? {};
      return host !== null && incarnationId(host, incarnation) === this.#expectedFrom;
    });
    if (!stillTheirs) this.#endExpectation();
  }

  /** Before anything is taken or let go of; tried until it succeeds, with or without news. */
  async #adoptOnce(): Promise<void> {
    if (this.#adopted) return;
    await this.#adopt(this.#dropBudget());
    this.#adopted = true;
    this.#parts.onState();
    this.#assign();
  }

  #assign(): void {
    const incarnation = this.#incarnation;
    if (incarnation === undefined) return;
    const { view } = this.#parts.watch;
    this.#considerReady();
    const duties = new Map(dutiesOf(view, this.#parts.host, incarnation));
    for (const id of this.#ready) {
      if (!duties.has(id)) duties.set(id, { kind: 'ready', incarnation });
    }
    for (const [id, duty] of duties) {
      const role = parseRoleId(id);
      this.#task(role).set(duty, wishOf(view, role, this.#parts.host));
    }
    for (const [id, task] of this.#tasks) if (!duties.has(id)) task.set({ kind: 'none' });
    // Tasks that take have begun to hurry themselves.
    this.#expectNoMore(view);
  }

  /** What to have ready changes a little after its reason. */
  #considerReady(): void {
    if (sameNames(this.#ready, this.#rolesToKeepReady())) return;
    this.#cancelReady ??= this.#parts.timers.after(readyDelayMs, () => {
      this.#cancelReady = undefined;
      this.#ready = this.#rolesToKeepReady();
      this.#assign();
    });
  }

  #rolesToKeepReady(): readonly string[] {
    const { watch, host } = this.#parts;
    const config = configOf(watch.view);
    return config === undefined ? [] : rolesToKeepReady(watch.view, config, host);
  }

  /** Makes a task for all that is found by tag, so that what nobody wants any more goes away. */
  async #adopt(signal: AbortSignal): Promise<void> {
    const { network, storage, workload } = this.#parts;
    const [namespaces, volumes, workloads] = await Promise.all([
      network.observe(signal),
      storage.observe(signal),
      workload.observe(signal),
    ]);
    for (const { name, epoch } of namespaces) {
      const service = name.startsWith('svc-');
      const role: Role = service
        ? { kind: 'service', name: name.slice('svc-'.length) }
        : { kind: 'personality', name };
      this.#task(role).adopt(epoch);
    }
    for (const { personality, epoch } of [...volumes, ...workloads]) {
      this.#task({ kind: 'personality', name: personality }).adopt(epoch);
    }
  }

  #task(role: Role): RoleTask {
    const id = roleId(role);
    const known = this.#tasks.get(id);
    if (known !== undefined) return known;
    const work =
      role.kind === 'service'
        ? new ServiceWork(role.name, this.#parts.roleParts())
        : new PersonalityWork(role.name, this.#parts.roleParts());
    if (work instanceof PersonalityWork) this.#personalities.set(id, work);
    const task = new RoleTask(role, work, {
      log: this.#parts.log,
      timers: this.#parts.timers,
      bootMs: () => this.#parts.roleParts().clock.bootMs(),
      onState: () => this.#parts.onState(),
      onGone: () => this.#parts.onGone(),
    });
    this.#tasks.set(id, task);
    return task;
  }
}

function sameNames(a: readonly string[], b: readonly string[]): boolean {
  return a.length === b.length && a.every((name, index) => name === b[index]);
}

/**
 * What the store wants of this incarnation. An older incarnation's assignments are not its own. What
 * is on its way here is told ahead.
 */
export function dutiesOf(view: View, host: string, incarnation: number): ReadonlyMap<string, Duty> {
  const duties = new Map<string, Duty>();
  for (const [id, { value }] of view.assignments) {
    const { epoch, failover, move } = value;
    if (value.state === 'draining' && value.to === host)
      duties.set(id, { kind: 'ready', incarnation, ...(move === undefined ? {} : { move }) });
    if (value.host !== host || value.incarnation !== incarnation) continue;
    if (value.state !== 'draining') duties.set(id, { kind: 'hold', epoch, incarnation, failover });
    else if (move === undefined) duties.set(id, { kind: 'drain', epoch, incarnation });
    else {
      const kind = awaited(view, parseRoleId(id)) === undefined ? 'drain' : 'stay';
      duties.set(id, { kind, epoch, incarnation, move });
    }
  }
  return duties;
}

export interface OwnerParts {
  readonly host: string;
  readonly watch: ClusterWatch;
  readonly log: Log;
  readonly timers: Timers;
  readonly network: NetworkAdapter;
  readonly storage: StorageAdapter;
  readonly workload: WorkloadAdapter;
  readonly hurry: Pick<Hurry, 'begin'>;
  roleParts(): RoleParts;
  dropNetworks(signal: AbortSignal): Promise<void>;
  onState(): void;
  onGone(): void;
}
