import { msNs } from '../time.js';
import { linkPart, type Part } from '../troubles.js';
import type { CheckParts } from './check.js';
import type { SeenRole } from './roles.js';
import type { ServiceTimes } from './service-times.js';
import { hasMajorities } from './store-model.js';
import { recoveryNs } from './undisturbed.js';

/** A role that nothing keeps from being taken over works again within this time. */
export const takeoverBoundMs = 3_000;
const lookEveryMs = 500;
/** Until a host that carries nothing, and whose agent is away, asks for no lease: 5 s by its own clock. */
const agentBoundMs = 5_200;
/** Until a host that has no lease, though some hear it, is voted out by those too: 8 by several clocks. */
const halfHeardLeases = 10;

/**
 * Nobody waits for a fault to go away: while a majority of controllers, the store, the target and a
 * spare are well and reach each other, a role that is down is taken over, whatever else is broken.
 */
export class Stalled {
  readonly #parts: CheckParts;
  readonly #times: ServiceTimes;
  /** Role → since when nothing has been in the way of its takeover, and it was down. */
  readonly #sinceNs = new Map<string, number>();
  /** Role → epoch in which it was last seen to work. */
  readonly #workedIn = new Map<string, number>();
  /** Role → since when too few hear its owner. */
  readonly #halfHeardNs = new Map<string, number>();

  constructor(parts: CheckParts, times: ServiceTimes) {
    this.#parts = parts;
    this.#times = times;
  }

  start(): void {
    this.#next();
  }

  #next(): void {
    this.#parts.world.time.after(lookEveryMs * msNs, () => {
      for (const role of this.#parts.roles) this.#note(role);
      for (const role of this.#parts.roles) this.#lookAt(role);
      this.#next();
    });
  }

  #note({ id }: SeenRole): void {
    const epoch = this.#parts.store.assignments.get(id)?.epoch;
    if (epoch !== undefined && this.#times.hostOf(id) !== undefined) this.#workedIn.set(id, epoch);
  }

  #lookAt(role: SeenRole): void {
    const { world, violated } = this.#parts;
    const down = this.#times.hostOf(role.id) === undefined;
    const waits = down && (this.#waitsForItsHost(role) || this.#isHalfHeard(role));
    const spare = down && !waits ? this.#spareFor(role) : undefined;
    if (spare === undefined) {
      this.#sinceNs.delete(role.id);
      return;
    }
    const sinceNs = this.#sinceNs.get(role.id) ?? world.time.nowNs;
    this.#sinceNs.set(role.id, sinceNs);
    if (world.time.nowNs - sinceNs < takeoverBoundMs * msNs) return;
    const text = `${role.id} is down for ${takeoverBoundMs} ms, and nothing keeps ${spare} from it`;
    violated('live', text);
  }

  /**
   * An owner whose lease runs has not failed, though its disks, kernel or way to the store be in trouble:
   * no other host takes its role (docs/what-happens-when.md), and it works again when they do. So it is
   * with its agent while something works there; a host with nothing that works is given up soon.
   */
  #waitsForItsHost(role: SeenRole): boolean {
    const { world, store } = this.#parts;
    const assignment = store.assignments.get(role.id);
    if (assignment === undefined || assignment.host === null) return false;
    const { host } = assignment;
    const { up, kernel } = world.host(host);
    if (!up || !kernel.leaseRuns(assignment.incarnation)) return false;
    // Where it was moved to as planned, that host had said that it is ready.
    const moved = store.moved.has(role.id);
    if (!this.#well([`disk:${host}`, ...(moved ? [] : [`reach:${host}`])])) return true;
    if (this.#well([`agent:${host}`])) return false;
    const sinceNs = world.troubles.activeSinceNs(`agent:${host}`);
    const soon = sinceNs === undefined || world.time.nowNs - sinceNs < agentBoundMs * msNs;
    return soon || (!moved && this.#parts.roles.some((other) => this.#worked(other, host)));
  }

  /** Whether it got to work where it is now. */
  #worked({ id }: SeenRole, host: string): boolean {
    const assignment = this.#parts.store.assignments.get(id);
    return assignment?.host === host && this.#workedIn.get(id) === assignment.epoch;
  }

  /**
   * Too few controllers hear the owner for a lease, and too few that are well do not hear it for votes:
   * the others vote when it has said for some leases that it has none.
   */
  #isHalfHeard(role: SeenRole): boolean {
    const { time, config } = this.#parts.world;
    if (!this.#hearTooFew(role)) {
      this.#halfHeardNs.delete(role.id);
      return false;
    }
    const sinceNs = this.#halfHeardNs.get(role.id) ?? time.nowNs;
    this.#halfHeardNs.set(role.id, sinceNs);
    return time.nowNs - sinceNs < halfHeardLeases * config.timing.leaseMs * msNs;
  }

  #hearTooFew(role: SeenRole): boolean {
    const { world, store } = this.#parts;
    const assignment = store.assignments.get(role.id);
    if (assignment === undefined || assignment.host === null) return false;
    const { name, up } = world.host(assignment.host);
    if (!up || !this.#isFine(`host:${name}`, `pulse:${name}`)) return false;
    const hears = (one: string) =>
      this.#isFine(`host:${one}`, `pulse:${one}`) &&
      (one === name || this.#isFine(linkPart(one, name), linkPart(name, one)));
    const sets = store.lately(recoveryNs);
    const voters = sets.flat().filter((one) => this.#wellController(one) && !hears(one));
    return !hasMajorities(sets, hears) && !hasMajorities(sets, (one) => voters.includes(one));
  }

  #isFine(...parts: readonly Part[]): boolean {
    return parts.every((part) => this.#parts.world.troubles.fine(part));
  }

  #spareFor(role: SeenRole): string | undefined {
    const { world, store } = this.#parts;
    const { hosts } = world.config;
    const sets = store.lately(recoveryNs);
    if (!this.#well(['store', ...(role.targets.length > 0 ? ['target', 'reach:target'] : [])]))
      return undefined;
    const well = sets.flat().filter((name) => this.#wellController(name));
    if (!hasMajorities(sets, (name) => well.includes(name))) return undefined;
    const spare = hosts.find(({ name, pool, capacity }) => {
      if (pool !== role.pool || capacity !== null || store.drained.has(name)) return false;
      const linked = well.filter((one) => this.#linked(one, name));
      return this.#wellHost(name) && hasMajorities(sets, (one) => linked.includes(one));
    });
    return spare?.name;
  }

  #wellController(name: string): boolean {
    return this.#well([`host:${name}`, `pulse:${name}`, `agent:${name}`, `reach:${name}`]);
  }

  #wellHost(name: string): boolean {
    return this.#wellController(name) && this.#well([`disk:${name}`]);
  }

  #linked(controller: string, host: string): boolean {
    if (controller === host) return true;
    return this.#well([linkPart(controller, host), linkPart(host, controller)]);
  }

  #well(parts: readonly Part[]): boolean {
    const { time, troubles } = this.#parts.world;
    const sinceNs = troubles.fineSinceNs(...parts);
    return sinceNs !== undefined && time.nowNs - sinceNs >= recoveryNs;
  }
}
