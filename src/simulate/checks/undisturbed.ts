import { secondNs } from '../time.js';
import { linkPart, type Part } from '../troubles.js';
import type { CheckParts } from './check.js';
import type { SeenRole } from './roles.js';
import { hasMajorities } from './store-model.js';

/**
 * After trouble a host or a controller gets this long to be of use again: its agent waits between
 * tries (5 s at most), a watch is given up after one second, a promise must run out, a vote be
 * withdrawn.
 */
export const recoveryNs = 8 * secondNs;

/**
 * A failure elsewhere disturbs nobody: a role whose host is well, and which a majority of well
 * controllers reach, works on. What is well is told by whoever injects the faults.
 *
 * A controller counts from when it, its agent, its way to the store and both ways to the host have
 * all been well for the time of recovery; from then on it counts as long as it and the way to the
 * host are: to renew a lease takes neither agent nor store.
 */
export class Undisturbed {
  readonly #parts: CheckParts;
  /** `controller>host` that count. */
  readonly #ready = new Set<string>();

  constructor(parts: CheckParts) {
    this.#parts = parts;
    parts.world.troubles.beforeChange(() => this.#update());
  }

  /** A role has stopped working on this host. */
  stopped(role: SeenRole, host: string): void {
    const { store, violated } = this.#parts;
    this.#update();
    const assignment = store.assignments.get(role.id);
    const planned = assignment?.state !== 'assigned' || assignment.host !== host;
    if (planned || this.#harmed(role, host)) return;
    const sets = store.lately(recoveryNs);
    const reached = sets.flat().filter((controller) => this.#ready.has(`${controller}>${host}`));
    if (!hasMajorities(sets, (name) => reached.includes(name))) return;
    violated(
      'undisturbed',
      `${role.id} stops on ${host}, which is well and reached by ${reached.join(', ')}`,
    );
  }

  #harmed(role: SeenRole, host: string): boolean {
    const parts = [`host:${host}`, `pulse:${host}`, `clock:${host}`];
    const disks = role.targets.length > 0 ? [`disk:${host}`, 'target'] : [];
    return !this.#wellFor(recoveryNs, [...parts, ...disks]);
  }

  #update(): void {
    const { world } = this.#parts;
    for (const controller of world.hosts.keys()) {
      for (const host of world.hosts.keys()) this.#updateOne(controller, host);
    }
  }

  #updateOne(controller: string, host: string): void {
    const link = `${controller}>${host}`;
    const needed = [
      `host:${controller}`,
      `pulse:${controller}`,
      linkPart(controller, host),
      linkPart(host, controller),
    ];
    const toGetReady = [...needed, `agent:${controller}`, `reach:${controller}`, 'store'];
    if (!this.#wellFor(0, needed)) this.#ready.delete(link);
    else if (this.#wellFor(recoveryNs, toGetReady)) this.#ready.add(link);
  }

  #wellFor(durationNs: number, parts: readonly Part[]): boolean {
    const { time, troubles } = this.#parts.world;
    const sinceNs = troubles.fineSinceNs(...parts);
    return sinceNs !== undefined && time.nowNs - sinceNs >= durationNs;
  }
}
