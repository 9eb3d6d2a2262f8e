import type { ClusterConfig } from '../config/types.js';
import { configOf, roleId, type View } from '../control/view.js';
import { Judge } from '../observe/judge.js';
import type { Lab } from './lab.js';
import { switchNode } from './plan.js';

/** A judge at the switch of a lab, for every vMAC of the applied definition. */
export function judgeOf(lab: Lab, config: ClusterConfig): Judge {
  const hosts = new Map(lab.plan.hosts.map(({ name, ports }) => [ports.eth1, name]));
  return new Judge({
    namespacePath: lab.namespacePath(switchNode),
    macs: [...rolesByMac(config).keys()],
    // Whoever else speaks on the internal network is known by its port.
    portOwner: (port) => hosts.get(port) ?? (port.startsWith('int-') ? port : undefined),
  });
}

function rolesByMac(config: ClusterConfig): ReadonlyMap<string, string> {
  return new Map([
    ...config.personalities.flatMap(({ name, networks }) =>
      networks.map(({ mac }) => [mac, roleId({ kind: 'personality', name })] as const),
    ),
    ...config.services.map(({ name, mac }) => [mac, roleId({ kind: 'service', name })] as const),
  ]);
}

/**
 * Which hosts each role was given to, in order: what is written in the store, so that a judge can tell
 * a host that was given a role again from one that never let go of it.
 */
export class OwnerLog {
  readonly #byEpoch = new Map<string, Map<number, string>>();

  /** To be called at each change of the view; records of failovers fill in what came in between. */
  look(view: View): void {
    for (const [id, { value }] of view.assignments) this.#note(id, value.epoch, value.host);
    for (const { value } of view.failovers.values()) {
      const id = roleId(value);
      this.#note(id, value.epoch - 1, value.from);
      this.#note(id, value.epoch, value.to);
    }
  }

  /** By vMAC. */
  owners(view: View): ReadonlyMap<string, readonly string[]> {
    const config = configOf(view);
    const roles = config === undefined ? [] : [...rolesByMac(config)];
    return new Map(roles.map(([mac, id]) => [mac, this.#ownersOf(id)]));
  }

  #ownersOf(id: string): readonly string[] {
    const epochs = [...(this.#byEpoch.get(id) ?? [])].sort(([a], [b]) => a - b);
    return epochs.map(([, host]) => host);
  }

  #note(id: string, epoch: number, host: string | null): void {
    const epochs = this.#byEpoch.get(id) ?? new Map<number, string>();
    this.#byEpoch.set(id, epochs);
    if (host !== null) epochs.set(epoch, host);
  }
}
