import type { View } from '../control/view.js';
import type { Clock } from './clock.js';
import type { ClusterWatch } from './cluster-watch.js';

/**
 * When the record of each failover reached this host: its steps are counted from there on every clock but
 * the committer's. Not from when somebody began to work on it: that may have been long after, when the
 * step before was another host's, or a first try had failed.
 */
export class Deliveries {
  readonly #clock: Clock;
  readonly #heardMs = new Map<string, number>();

  constructor(watch: Pick<ClusterWatch, 'onChange'>, clock: Clock) {
    this.#clock = clock;
    watch.onChange((view) => this.#look(view), ['failovers']);
  }

  /** Boot clock; now, for one that has not come. */
  heardMs(failover: string): number {
    return this.#heardMs.get(failover) ?? this.#clock.bootMs();
  }

  #look({ failovers }: View): void {
    for (const id of this.#heardMs.keys()) if (!failovers.has(id)) this.#heardMs.delete(id);
    const nowMs = this.#clock.bootMs();
    for (const id of failovers.keys()) if (!this.#heardMs.has(id)) this.#heardMs.set(id, nowMs);
  }
}
