import { msNs } from '../time.js';
import type { World } from '../world.js';
import { type SeenRole, workingOn } from './roles.js';

/** A time without a role that worked before. */
export interface Gap {
  readonly role: string;
  readonly from: string;
  readonly to: string;
  readonly startMs: number;
  readonly endMs: number;
}

interface Working {
  host: string | undefined;
  gap: { readonly from: string; readonly startNs: number } | undefined;
}

/** Where each role works, and when it did not: seen from outside. */
export class ServiceTimes {
  readonly gaps: Gap[] = [];
  readonly #world: World;
  readonly #roles: readonly SeenRole[];
  readonly #working = new Map<string, Working>();
  readonly #stopped: (role: SeenRole, host: string) => void;
  readonly #back: (gap: Gap) => void;
  readonly #expiries = new Set<string>();

  /** `stopped` is called when a role stops working on a host, `back` when it works again. */
  constructor(
    world: World,
    roles: readonly SeenRole[],
    stopped: (role: SeenRole, host: string) => void,
    back: (gap: Gap) => void,
  ) {
    this.#world = world;
    this.#roles = roles;
    this.#stopped = stopped;
    this.#back = back;
    for (const { id } of roles) this.#working.set(id, { host: undefined, gap: undefined });
  }

  get allWork(): boolean {
    return [...this.#working.values()].every(({ host }) => host !== undefined);
  }

  get notWorking(): readonly string[] {
    return [...this.#working].flatMap(([id, { host }]) => (host === undefined ? [id] : []));
  }

  hostOf(role: string): string | undefined {
    return this.#working.get(role)?.host;
  }

  look(): void {
    for (const role of this.#roles) this.#lookAt(role);
    this.#watchExpiries();
  }

  #lookAt(role: SeenRole): void {
    const before = this.#working.get(role.id);
    if (before === undefined) return;
    const { nowNs } = this.#world.time;
    const host = workingOn(this.#world, role);
    if (host === before.host) return;
    const from = before.host;
    before.host = host;
    if (from !== undefined) {
      before.gap = { from, startNs: nowNs };
      this.#stopped(role, from);
    }
    if (host !== undefined && before.gap !== undefined) {
      const { startNs } = before.gap;
      const [startMs, endMs] = [startNs / msNs, nowNs / msNs];
      const gap: Gap = { role: role.id, from: before.gap.from, to: host, startMs, endMs };
      before.gap = undefined;
      this.gaps.push(gap);
      this.#back(gap);
    }
  }

  /** Frames stop passing by themselves, when a deadline is over: nothing else tells of that. */
  #watchExpiries(): void {
    for (const { name, up, kernel, clock } of this.#world.hosts.values()) {
      if (!up || this.#expiries.has(name)) continue;
      const ends = kernel
        .nics()
        .filter((nic) => kernel.passes(nic))
        .map(({ deadlineNs }) => Number(deadlineNs));
      const firstNs = Math.min(...ends);
      if (ends.length === 0 || firstNs > 1e18) continue;
      this.#expiries.add(name);
      this.#world.time.at(clock.whenNs(firstNs), () => {
        this.#expiries.delete(name);
        this.look();
      });
    }
  }
}
