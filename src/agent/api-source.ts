import type { ApiSource, LeaseFacts } from '../api/types.js';
import type { AuditRecord, EventRecord, TrafficReport } from '../control/records.js';
import type { Status } from '../control/status.js';
import { type Timeline, timelinesOf } from '../control/timeline.js';
import type { DispatchAdapter } from '../dispatch/types.js';
import { auditOf } from '../operate/audit.js';
import type { Store } from '../store/types.js';
import { statusOfView } from './cluster-status.js';
import type { ClusterWatch } from './cluster-watch.js';
import type { PulsePort } from './pulse-port.js';

/** A question of the API to the store may not pile up behind a dead one. */
const storeBudgetMs = 500;

/** What this agent lets its HTTP API show. */
export class AgentApiSource implements ApiSource {
  readonly host: string;
  readonly version: string;
  readonly #parts: ApiSourceParts;

  constructor(parts: ApiSourceParts) {
    this.#parts = parts;
    this.host = parts.host;
    this.version = parts.version;
  }

  async health(): Promise<{ readonly store: boolean; readonly pulse: boolean }> {
    const [leader, lease] = await Promise.all([this.#leader(), this.lease()]);
    return { store: leader.answered, pulse: lease !== undefined };
  }

  /** `quorum` is whether the store answered now; the rest is what was last heard of it. */
  async status(): Promise<Status | undefined> {
    const { answered, name } = await this.#leader();
    const status = statusOfView(this.#parts.watch.view, name);
    return status === undefined ? undefined : { ...status, quorum: answered };
  }

  failovers(): readonly Timeline[] {
    return timelinesOf(this.#parts.watch.view);
  }

  async events(most: number): Promise<readonly EventRecord[]> {
    const { entries } = await this.#parts.store.list('events/', { budgetMs: storeBudgetMs });
    return entries.slice(-most).map(({ value }) => JSON.parse(value) as EventRecord);
  }

  async audit(most: number): Promise<readonly AuditRecord[]> {
    const { entries } = await this.#parts.store.list('audit/', { budgetMs: storeBudgetMs });
    return entries.flatMap(({ value }) => auditOf(value) ?? []).slice(-most);
  }

  lastChange(): AuditRecord | undefined {
    return this.#parts.watch.view.lastChange?.value;
  }

  async lease(): Promise<LeaseFacts | undefined> {
    try {
      const reply = await this.#parts.pulse.request({ kind: 'status' });
      if (reply.kind !== 'status') return undefined;
      const { nowMs, deadlineMs, hosts, counters } = reply;
      const remainingMs = deadlineMs === null ? null : Math.max(0, deadlineMs - nowMs);
      return { remainingMs, hosts, counters };
    } catch {
      return undefined;
    }
  }

  dispatched(): Promise<readonly TrafficReport[]> {
    return this.#parts.dispatch.allCounters();
  }

  standbys(): readonly { readonly host: string; readonly ageMs: number | null }[] {
    return this.#parts.standbys();
  }

  async #leader(): Promise<{ readonly answered: boolean; readonly name: string | undefined }> {
    try {
      const name = await this.#parts.store.holder('leader', { budgetMs: storeBudgetMs });
      return { answered: true, name };
    } catch {
      return { answered: false, name: undefined };
    }
  }
}

export interface ApiSourceParts {
  readonly host: string;
  readonly version: string;
  readonly watch: ClusterWatch;
  readonly store: Store;
  readonly pulse: PulsePort;
  readonly dispatch: Pick<DispatchAdapter, 'allCounters'>;
  standbys(): readonly { readonly host: string; readonly ageMs: number | null }[];
}
