import type { Packet } from '../pulse/packet.js';
import { assignments } from './checks/assignments.js';
import type { Check, CheckParts, Violation } from './checks/check.js';
import { leases } from './checks/leases.js';
import { owners } from './checks/owners.js';
import { rolesOf, type SeenRole } from './checks/roles.js';
import { type Gap, ServiceTimes } from './checks/service-times.js';
import { Stalled } from './checks/stalled.js';
import { StoreModel } from './checks/store-model.js';
import { Undisturbed } from './checks/undisturbed.js';
import { msNs } from './time.js';
import type { StoredChange, Witness, World } from './world.js';

/** All checks of one run. They are told what happens and look at the machines; they change nothing. */
export class Judge implements Witness {
  readonly violations: Violation[] = [];
  readonly #back: (gap: Gap) => void;
  #checks: readonly Check[] = [];
  readonly #store = new StoreModel(() => this.#world?.time.nowNs ?? 0);
  #world: World | undefined;
  #times: ServiceTimes | undefined;
  #changed = false;

  /** `back` is called whenever a role works again. */
  constructor(back: (gap: Gap) => void) {
    this.#back = back;
  }

  watch(world: World): void {
    this.#world = world;
    const roles: readonly SeenRole[] = rolesOf(world.config);
    const parts: CheckParts = {
      world,
      roles,
      store: this.#store,
      violated: (invariant, text) => {
        this.violations.push({ invariant, text, atMs: world.time.nowNs / msNs });
      },
    };
    const undisturbed = new Undisturbed(parts);
    this.#checks = [owners(parts), leases(parts), assignments(parts)];
    const times = new ServiceTimes(
      world,
      roles,
      (role, host) => undisturbed.stopped(role, host),
      (gap) => this.#back(gap),
    );
    this.#times = times;
    if (world.config.fencing.enforce) new Stalled(parts, times).start();
  }

  get times(): ServiceTimes {
    if (this.#times === undefined) throw new Error('nothing is watched yet');
    return this.#times;
  }

  get store(): StoreModel {
    return this.#store;
  }

  change(): void {
    this.#changed = true;
  }

  /** After every step. */
  look(): void {
    if (!this.#changed) return;
    this.#changed = false;
    for (const check of this.#checks) check.look?.();
    this.#times?.look();
  }

  stored(change: StoredChange): void {
    for (const check of this.#checks) check.stored?.(change);
    this.#store.apply(change);
  }

  read(target: string, host: string, epoch: number): void {
    for (const check of this.#checks) check.read?.(target, host, epoch);
  }

  sent(from: string, packet: Packet): void {
    for (const check of this.#checks) check.sent?.(from, packet);
  }

  arrived(to: string, packet: Packet): void {
    for (const check of this.#checks) check.arrived?.(to, packet);
  }
}
