import type { ReportRecord } from '../control/records.js';
import { configOf } from '../control/view.js';
import { enrolledIncarnations } from '../control/votes.js';
import type { AgentParts } from './agent.js';
import type { ClusterWatch } from './cluster-watch.js';
import { GrantingWatch } from './granting-watch.js';
import { HealthWatch } from './health-watch.js';
import type { Journal } from './journal.js';
import type { Owner } from './owner.js';
import { PortalWatch } from './portal-watch.js';
import { Reporter } from './reporter.js';
import { TrafficWatch } from './traffic-watch.js';

/** What a host tells of itself, and those who look for it: members' health, counters, portals, grants. */
export class HostReport {
  readonly #parts: HostReportParts;
  readonly #health: HealthWatch;
  readonly #traffic: TrafficWatch;
  readonly #portals: PortalWatch;
  readonly #granting: GrantingWatch;
  readonly #reporter: Reporter;

  constructor(agent: AgentParts, parts: HostReportParts) {
    this.#parts = parts;
    const { watch, journal, owner } = parts;
    const { log, timers, store, pulse, facts } = agent;
    this.#health = new HealthWatch({
      watch,
      probe: agent.probe,
      script: agent.script,
      timers,
      running: () => owner().running(),
      namespacePath: agent.namespacePath,
      onChange: (member, why) => {
        log.info({ member, why }, why === '' ? `${member} is up` : `${member} is down: ${why}`);
        this.#reporter.now();
      },
      onStep: () => this.#reporter.now(),
    });
    this.#traffic = new TrafficWatch({
      dispatch: agent.dispatch,
      timers,
      log,
      services: () => configOf(watch.view)?.services.length ?? 0,
      onRead: () => this.#reporter.look(),
    });
    this.#portals = new PortalWatch({
      timers,
      log,
      personalities: () => owner().reports().personalities,
      portalsOf: (volume) =>
        configOf(watch.view)?.volumes.find(({ name }) => name === volume)?.portals ?? [],
      failure: (portals, signal) => agent.portalsFailure(portals, signal),
      trouble: (personality, lun) => {
        const trouble = agent.storage.trouble?.(personality, lun);
        return trouble && `${trouble.message}; ${trouble.remedy}`;
      },
      onChange: (personality, volume, trouble) => {
        const text = trouble === undefined ? 'can be reached again' : `stands still: ${trouble}`;
        journal.event('storage', personality, `${volume} ${text}`);
      },
      onReport: () => this.#reporter.now(),
    });
    this.#reporter = new Reporter({
      ...{ host: facts.host, store, log, timers },
      report: () => this.#report(),
    });
    this.#granting = new GrantingWatch({
      pulse,
      log,
      timers,
      nowMs: agent.clock.bootMs,
      timing: () => configOf(watch.view)?.timing ?? { heartbeatMs: 50, leaseMs: 200 },
      expected: () => enrolledIncarnations(watch.view),
      onChange: () => this.#reporter.look(),
    });
  }

  start(): void {
    this.#parts.watch.onChange(() => this.#health.look(), ['config', 'assign']);
  }

  async stop(): Promise<void> {
    this.#health.stop();
    await Promise.all([
      this.#traffic.stop(),
      this.#portals.stop(),
      this.#granting.stop(),
      this.#reporter.stop(),
    ]);
  }

  /** Something of it may have changed. */
  look(): void {
    this.#reporter.look();
  }

  /** A role here began, ended or got on: its members' checks with it. */
  rolesChanged(): void {
    this.#health.look();
    this.#reporter.look();
  }

  /** This host's pulse takes up, or has lost, its part in leases of others. */
  beginGranting(): void {
    this.#granting.begin();
  }

  endGranting(): void {
    this.#granting.end();
  }

  #report(): ReportRecord | undefined {
    const { incarnation, heldSet, leased } = this.#parts.enrolled();
    if (incarnation === undefined || configOf(this.#parts.watch.view) === undefined)
      return undefined;
    const traffic = this.#traffic.traffic();
    const reports = this.#parts.owner().reports();
    return {
      incarnation,
      granting: this.#granting.granting,
      ...(heldSet === 0 ? {} : { set: heldSet }),
      leased,
      ...reports,
      personalities: reports.personalities.map((one) => this.#portals.tell(one)),
      health: this.#health.healths(),
      ...(traffic.length === 0 ? {} : { traffic }),
    };
  }
}

export interface HostReportParts {
  readonly watch: ClusterWatch;
  readonly journal: Journal;
  owner(): Pick<Owner, 'running' | 'reports'>;
  enrolled(): {
    readonly incarnation: number | undefined;
    readonly heldSet: number;
    readonly leased: boolean;
  };
}
