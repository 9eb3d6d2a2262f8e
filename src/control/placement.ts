import type { ClusterConfig, HostConfig } from '../config/types.js';
import { isEligible, isJoining } from './eligible.js';
import { lookup } from './lookup.js';
import type { AssignmentRecord } from './records.js';
import { incarnationId, parseRoleId, type Role, roleId, type View } from './view.js';
import { outOfTouch, standingVotes } from './votes.js';

/** Where a role goes, or why nowhere. */
export type Placement =
  | {
      readonly kind: 'place';
      readonly host: string;
      readonly incarnation: number;
      readonly reason: string;
    }
  | { readonly kind: 'hold'; readonly reason: HoldReason };

export type HoldReason =
  | 'no-spare-in-pool' // nobody in the pool is up, enrolled and not drained
  | 'no-lease-in-pool' // those who are enrolled wait for their first lease: controllers do not hear them
  | 'no-agent-in-pool' // the agents of those who are up are away: what is given to them would wait
  | 'no-room-in-pool' // those who are up carry as much as they may
  | 'not-proven-silent' // its lease is not enforced, and nobody has switched it off
  | 'unknown-role'; // the configuration no longer names it

/** What placement needs to know besides the store, of `host/incarnation`. */
export interface Liveness {
  /** Their promise ran out, as this controller saw it. */
  readonly lapsed: ReadonlySet<string>;
  /** They say that they have no agent, which could take up anything. */
  readonly agentless?: ReadonlySet<string>;
}

/** A host that roles may be placed on. */
interface Up {
  readonly host: HostConfig;
  readonly incarnation: number;
  /** A minority of the controllers does not hear it: it may be on the point of being voted out. */
  readonly doubted: boolean;
}

interface Carried {
  personalities: number;
  dispatchers: number;
}

/** Smaller is better; compared from left to right. */
type Load = readonly [
  /** Members of a service this role belongs to that the host carries already. */
  siblings: number,
  /** Personality: how many are there. Dispatcher: 0 where the host is in use already, else 1. */
  first: number,
  /** Dispatcher: how many it dispatches; personality: how many it dispatches too. */
  second: number,
];

type Where = Pick<AssignmentRecord, 'host' | 'state' | 'to'>;

/**
 * Which hosts are up and what each carries, worked out once for a round of decisions. Each choice of the
 * round is noted, so that the next one sees the load that it brings.
 */
export class Survey {
  readonly #config: ClusterConfig;
  readonly #view: View;
  readonly #up = new Map<string, Up[]>();
  /** Pools of hosts that may be up any moment. */
  readonly #joining = new Set<string>();
  /** Pools of hosts that would be up if their agent were there. */
  readonly #agentless = new Set<string>();
  readonly #carried = new Map<string, Carried>();
  /** Where roles are to be, as far as this round has changed it. */
  readonly #noted = new Map<string, Where>();

  constructor(view: View, config: ClusterConfig, liveness: Liveness) {
    this.#config = config;
    this.#view = view;
    const deaf = outOfTouch(view);
    for (const host of config.hosts) {
      if (host.pool === null) continue;
      if (isJoining(view, host.name)) this.#joining.add(host.pool);
      const up = upNow(view, host, liveness, deaf);
      if (up === undefined) continue;
      if (liveness.agentless?.has(incarnationId(host.name, up.incarnation)) === true) {
        this.#agentless.add(host.pool);
        continue;
      }
      const pool = this.#up.get(host.pool) ?? [];
      pool.push(up);
      this.#up.set(host.pool, pool);
    }
    for (const [id, { value }] of view.assignments) this.#count(id, value, 1);
  }

  /** From now on the role counts where `next` puts it. */
  note(role: Role, next: Where): void {
    const id = roleId(role);
    const before = this.#where(id);
    if (before !== undefined) this.#count(id, before, -1);
    this.#noted.set(id, next);
    this.#count(id, next, 1);
  }

  /**
   * Chooses a host for a role: of its pool, enrolled, not drained, with a lease that it holds or held
   * already, with room for one more personality where the file bounds that, and heard by all controllers
   * that hear anybody; or, where such a one was sought in vain, one of the `doubted`.
   *
   * A personality prefers a spare (a host without any), then the least loaded; it avoids hosts of
   * other members of its services, so that one failure never takes two. A dispatcher prefers a host
   * that is in use already, so that spares stay spare, and one that carries no member of its service.
   * Ties go by name: every controller that sees the same view chooses the same host.
   */
  choose(role: Role, avoid: ReadonlySet<string> = new Set(), doubted = false): Placement {
    const pool = poolOf(this.#config, role);
    if (pool === undefined) return { kind: 'hold', reason: 'unknown-role' };
    const own = new Set(hostsOf(this.#where(roleId(role))));
    const siblings = this.#siblings(role);
    let up = 0;
    let candidates = 0;
    let best: { readonly at: Up; readonly load: Load } | undefined;
    for (const at of this.#up.get(pool) ?? []) {
      const { name } = at.host;
      if (avoid.has(name) || at.doubted !== doubted) continue;
      up++;
      const load = this.#load(role, name, own.has(name), siblings.get(name) ?? 0);
      if (!hasRoom(at.host, role, load)) continue;
      candidates++;
      if (best === undefined || isBetter(load, name, best.load, best.at.host.name)) {
        best = { at, load };
      }
    }
    if (best === undefined) {
      if (up > 0) return { kind: 'hold', reason: 'no-room-in-pool' };
      if (this.#agentless.has(pool)) return { kind: 'hold', reason: 'no-agent-in-pool' };
      return {
        kind: 'hold',
        reason: this.#joining.has(pool) ? 'no-lease-in-pool' : 'no-spare-in-pool',
      };
    }
    const { host, incarnation } = best.at;
    const why = explain(role, best.load, candidates, pool);
    const reason = doubted ? `${why}, though a minority of controllers does not hear it` : why;
    return { kind: 'place', host: host.name, incarnation, reason };
  }

  /**
   * Where a role goes that was lost with its host: anywhere else first, and if there is nowhere, to that
   * host again, should it be back. It is then another incarnation, on which nothing is left.
   *
   * It is down already, so a doubted host is better than none: should it fail too, it is voted out like
   * any other. A link that is cut, or one controller in trouble, must not keep a role from the only spare.
   */
  replace(role: Role, lostHost: string): Placement {
    const lost = new Set([lostHost]);
    const elsewhere = this.choose(role, lost);
    if (elsewhere.kind === 'place') return elsewhere;
    for (const other of [this.choose(role, lost, true), this.choose(role)]) {
      if (other.kind === 'place') return other;
    }
    return elsewhere;
  }

  #where(id: string): Where | undefined {
    return this.#noted.get(id) ?? this.#view.assignments.get(id)?.value;
  }

  #count(id: string, where: Where, by: 1 | -1): void {
    const { kind } = parseRoleId(id);
    for (const host of hostsOf(where)) {
      const carried = this.#carried.get(host) ?? { personalities: 0, dispatchers: 0 };
      if (kind === 'service') carried.dispatchers += by;
      else carried.personalities += by;
      this.#carried.set(host, carried);
    }
  }

  /** How many siblings of a role each host carries. */
  #siblings(role: Role): ReadonlyMap<string, number> {
    const counts = new Map<string, number>();
    for (const id of siblingsOf(this.#config, role)) {
      for (const host of hostsOf(this.#where(id))) counts.set(host, (counts.get(host) ?? 0) + 1);
    }
    return counts;
  }

  /** @param own the role itself is counted there */
  #load(role: Role, host: string, own: boolean, siblings: number): Load {
    const carried = this.#carried.get(host);
    const personality = role.kind === 'personality';
    const personalities = (carried?.personalities ?? 0) - (own && personality ? 1 : 0);
    const dispatchers = (carried?.dispatchers ?? 0) - (own && !personality ? 1 : 0);
    return personality
      ? [siblings, personalities, dispatchers]
      : [siblings, personalities > 0 ? 0 : 1, dispatchers];
  }
}

/** One choice on its own: see `Survey.choose`. */
export function choosePlacement(
  view: View,
  config: ClusterConfig,
  role: Role,
  liveness: Liveness,
  avoid: ReadonlySet<string> = new Set(),
): Placement {
  return new Survey(view, config, liveness).choose(role, avoid);
}

/** @param deaf controllers that say nothing of others, and whose own hosts hear nobody either */
function upNow(
  view: View,
  host: HostConfig,
  { lapsed }: Liveness,
  deaf: ReadonlySet<string>,
): Up | undefined {
  const { name } = host;
  const incarnation = view.hosts.get(name)?.value.incarnation;
  if (incarnation === undefined || view.drained.has(name) || deaf.has(name)) return undefined;
  if (!isEligible(view, name, incarnation)) return undefined;
  const votes = standingVotes(view, name, incarnation);
  const doubted =
    lapsed.has(incarnationId(name, incarnation)) ||
    votes.some(({ controller }) => !deaf.has(controller));
  return { host, incarnation, doubted };
}

/** Where a role counts: where it is, and where it is on its way to. */
function hostsOf(where: Where | undefined): readonly string[] {
  if (where === undefined) return [];
  const hosts = where.host === null ? [] : [where.host];
  if (where.state === 'draining' && where.to !== null && where.to !== where.host) {
    hosts.push(where.to);
  }
  return hosts;
}

function hasRoom({ capacity }: HostConfig, role: Role, load: Load): boolean {
  return role.kind === 'service' || capacity === null || load[1] < capacity;
}

function isBetter(load: Load, name: string, than: Load, thanName: string): boolean {
  const order = compareLoads(load, than);
  return order < 0 || (order === 0 && name < thanName);
}

/** Roles that should not share a host with this one. */
function siblingsOf(config: ClusterConfig, role: Role): ReadonlySet<string> {
  const { services, servicesOf } = lookup(config);
  const own = services.get(role.name);
  const concerned =
    role.kind === 'personality'
      ? (servicesOf.get(role.name) ?? [])
      : own === undefined
        ? []
        : [own];
  const siblings = new Set<string>();
  for (const { personality } of concerned.flatMap(({ members }) => members)) {
    if (role.kind === 'personality' && personality === role.name) continue;
    siblings.add(roleId({ kind: 'personality', name: personality }));
  }
  // Dispatchers that are at work at once are there so that one failure leaves the others.
  if (role.kind === 'service' && own?.group !== undefined) {
    for (const { name, group } of config.services) {
      if (group === own.group && name !== role.name)
        siblings.add(roleId({ kind: 'service', name }));
    }
  }
  return siblings;
}

function poolOf(config: ClusterConfig, role: Role): string | undefined {
  const { personalities, services } = lookup(config);
  return (role.kind === 'personality' ? personalities : services).get(role.name)?.pool;
}

function compareLoads(a: Load, b: Load): number {
  return a[0] - b[0] || a[1] - b[1] || a[2] - b[2];
}

function explain(role: Role, load: Load, candidates: number, pool: string): string {
  const among = `of ${candidates} in pool ${pool}`;
  if (role.kind === 'service') return `fewest dispatchers (${load[2]}) ${among}`;
  if (load[1] === 0)
    return candidates === 1 ? `the only spare in pool ${pool}` : `a spare, first ${among}`;
  return `least loaded (${load[1]} personalities) ${among}; no spare left`;
}
