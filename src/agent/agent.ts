import { featuresKey } from '../control/keys.js';
import type { FeaturesRecord } from '../control/records.js';
import type { AskScript } from '../dispatch/script-check.js';
import type { DispatchAdapter } from '../dispatch/types.js';
import type { PowerAdapter } from '../fencing/types.js';
import type { NetworkAdapter } from '../network/types.js';
import type { StorageAdapter } from '../storage/types.js';
import { firstAnswer } from '../store/first-answer.js';
import type { Timers } from '../store/timers.js';
import type { Store } from '../store/types.js';
import type { WorkloadAdapter } from '../workload/types.js';
import { Announcer } from './announcer.js';
import { AgentApiSource } from './api-source.js';
import { Carrying } from './carrying.js';
import type { Clock } from './clock.js';
import { ClusterWatch } from './cluster-watch.js';
import { Deliveries } from './deliveries.js';
import { DispatcherMemory } from './dispatcher-memory.js';
import { Enrolment, type LeaseMaps } from './enrolment.js';
import { Forwarding } from './forwarding.js';
import type { Probe } from './health-watch.js';
import { HostReport } from './host-report.js';
import { Hurry } from './hurry.js';
import { Journal } from './journal.js';
import { Leadership } from './leadership.js';
import { LongerLease } from './longer-lease.js';
import type { Log } from './loop.js';
import type { MemoryWire } from './memory-wire.js';
import { Owner } from './owner.js';
import type { PulsePort } from './pulse-port.js';
import type { RoleParts } from './role-parts.js';
import type { HostFacts } from './specs.js';
import { Verifier } from './verifier.js';
import { Voter } from './voter.js';
import { Warmth } from './warmth.js';

/** Everything the agent stands on, handed in. */
export interface AgentParts {
  readonly facts: HostFacts;
  readonly pulsePort: number;
  readonly bootId: string;
  readonly bootToken: string;
  readonly features: FeaturesRecord;
  readonly announce: boolean;
  readonly store: Store;
  readonly pulse: PulsePort;
  readonly network: NetworkAdapter;
  readonly storage: StorageAdapter;
  readonly workload: WorkloadAdapter;
  readonly dispatch: DispatchAdapter;
  /** To other hosts' agents; left out: dispatchers hand nothing on. */
  readonly memoryWire?: MemoryWire;
  readonly power: PowerAdapter;
  readonly maps: LeaseMaps;
  readonly probe: Probe;
  readonly script: AskScript;
  /** Why none of the portals can be reached; undefined: one can. */
  portalsFailure(portals: readonly string[], signal: AbortSignal): Promise<string | undefined>;
  readonly clock: Clock;
  readonly timers: Timers;
  readonly log: Log;
  /** Asks that this program go before others of its host, or takes that back. */
  goFirst(yes: boolean): void;
  namespacePath(name: string): string;
  hostMount(personality: string, lun: number): string;
}

/**
 * One host's agent: makes the kernel match what the store assigns to this host, and on controllers
 * votes and decides. Stopping it changes nothing in the kernel; the next one adopts what it finds.
 */
export class Agent {
  readonly #parts: AgentParts;
  readonly #hurry: Hurry;
  readonly #watch: ClusterWatch;
  readonly #journal: Journal;
  readonly #owner: Owner;
  readonly #enrolment: Enrolment;
  readonly #longer: LongerLease;
  readonly #voter: Voter;
  readonly #leadership: Leadership;
  readonly #forwarding: Forwarding;
  readonly #announcer: Announcer;
  readonly #verifier: Verifier;
  readonly #deliveries: Deliveries;
  readonly #report: HostReport;
  readonly #carrying: Carrying;
  readonly #memory: DispatcherMemory;
  readonly #warmth: Warmth;

  constructor(parts: AgentParts) {
    this.#parts = parts;
    const { store, log, timers, clock, facts, network, storage, workload, pulse, bootId } = parts;
    const { host } = facts;
    const watch = new ClusterWatch(store, log);
    this.#deliveries = new Deliveries(watch, clock);
    const journal = new Journal({ store, clock, timers, host, log });
    this.#hurry = new Hurry(parts, (yes) => parts.goFirst(yes));
    this.#watch = watch;
    this.#journal = journal;
    this.#announcer = new Announcer(network, parts, parts.announce);
    this.#forwarding = new Forwarding({
      watch,
      network,
      facts,
      log,
      timers,
      networksInUse: () => this.#owner.networksInUse,
    });
    this.#owner = new Owner({
      host,
      watch,
      log,
      timers,
      network,
      storage,
      workload,
      hurry: this.#hurry,
      roleParts: () => this.#roleParts(),
      dropNetworks: (signal) => this.#forwarding.dropEverything(signal),
      onState: () => {
        this.#report.rolesChanged();
        this.#carrying.look();
      },
      onGone: () => this.#forwarding.look(),
    });
    this.#carrying = new Carrying({
      pulse,
      timers,
      log,
      incarnation: () => this.#enrolment.incarnation,
      carried: () => this.#owner.carried(),
    });
    this.#report = new HostReport(parts, {
      watch,
      journal,
      owner: () => this.#owner,
      enrolled: () => this.#enrolment,
    });
    this.#memory = new DispatcherMemory(parts.memoryWire, {
      host,
      watch,
      dispatch: parts.dispatch,
      timers,
      log,
      bootMs: () => clock.bootMs(),
    });
    pulse.onConnect(() => this.#report.endGranting());
    this.#voter = new Voter({
      host,
      pulsePort: parts.pulsePort,
      store,
      watch,
      pulse,
      clock,
      journal,
      log,
      timers,
      hurry: this.#hurry,
      onLapse: () => this.#leadership.look(),
      commitsWith: (which, vote) => this.#leadership.commitsWith(which, vote),
      onCommit: (commit) => this.#leadership.committed(commit),
      onControl: () => this.#report.beginGranting(),
    });
    this.#leadership = new Leadership({
      host,
      bootId,
      store,
      watch,
      clock,
      journal,
      log,
      timers,
      power: parts.power,
      liveness: () => ({ lapsed: this.#voter.lapsed, agentless: this.#voter.agentless }),
    });
    this.#warmth = new Warmth({
      host,
      watch,
      storage,
      workload: parts.workload,
      dispatch: parts.dispatch,
      namespacePath: parts.namespacePath,
      hostMount: parts.hostMount,
      log,
      timers,
      incarnation: () => this.#enrolment.incarnation,
    });
    this.#verifier = new Verifier({
      host,
      bootId,
      watch,
      network,
      clock,
      deliveries: this.#deliveries,
      journal,
      log,
      timers,
    });
    this.#enrolment = new Enrolment({
      host,
      bootToken: parts.bootToken,
      pulsePort: parts.pulsePort,
      store,
      watch,
      pulse,
      maps: parts.maps,
      journal,
      log,
      timers,
      dropEverything: () => this.#owner.dropEverything(),
      onIncarnation: (incarnation) => {
        this.#owner.setIncarnation(incarnation);
        this.#carrying.look();
        this.#report.look();
        this.#longer.look();
        this.#warmth.look();
      },
      onHeld: () => this.#report.look(),
    });
    this.#longer = new LongerLease({
      host,
      store,
      watch,
      pulse,
      clock,
      journal,
      log,
      timers,
      incarnation: () => this.#enrolment.incarnation,
    });
  }

  async start(signal: AbortSignal): Promise<void> {
    const { network, storage, workload, dispatch, store, facts, features } = this.#parts;
    await firstAnswer(store, this.#parts, signal);
    for (const adapter of [network, storage, workload, dispatch]) await adapter.start(signal);
    const hears = await this.#memory.start();
    const { flowsPort: _, ...others } = features;
    this.#journal.write(featuresKey(facts.host), hears ? features : others);
    this.#carrying.start();
    this.#enrolment.start();
    this.#longer.start();
    this.#voter.start();
    this.#leadership.start(signal);
    this.#owner.start();
    this.#forwarding.start();
    this.#verifier.start();
    this.#warmth.start();
    this.#report.start();
    this.#watch.start(signal);
  }

  /** Ends what this process does; what stands in the kernel stays. */
  async stop(): Promise<void> {
    const { network, storage, workload, dispatch, store } = this.#parts;
    this.#announcer.stop();
    this.#carrying.stop();
    await Promise.all([
      this.#memory.stop(),
      this.#enrolment.stop(),
      this.#longer.stop(),
      this.#voter.stop(),
      this.#leadership.stop(),
      this.#owner.stop(),
      this.#forwarding.stop(),
      this.#verifier.stop(),
      this.#warmth.stop(),
      this.#report.stop(),
    ]);
    for (const adapter of [dispatch, workload, storage, network]) await adapter.stop();
    await this.#journal.stop();
    await store.stop();
  }

  /** For the HTTP API. */
  apiSource(version: string): AgentApiSource {
    const { facts, store, pulse, dispatch } = this.#parts;
    const { host } = facts;
    const standbys = () => this.#memory.ages();
    const watch = this.#watch;
    return new AgentApiSource({ host, version, watch, store, pulse, dispatch, standbys });
  }

  #roleParts(): RoleParts {
    const { facts, bootId, store, clock, log, timers, network, storage, workload, dispatch } =
      this.#parts;
    return {
      host: facts.host,
      underlayInterface: facts.underlayInterface,
      bootId,
      store,
      watch: this.#watch,
      clock,
      deliveries: this.#deliveries,
      journal: this.#journal,
      log,
      timers,
      network,
      storage,
      workload,
      dispatch,
      forwarding: this.#forwarding,
      announcer: this.#announcer,
      memory: this.#memory,
      hurry: this.#hurry,
      namespacePath: this.#parts.namespacePath,
      hostMount: this.#parts.hostMount,
      until: (condition, signal) => this.#watch.until(condition, signal),
    };
  }
}
