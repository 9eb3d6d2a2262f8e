import { setMaxListeners } from 'node:events';
import type { Log } from '../agent/loop.js';
import type { ClusterConfig } from '../config/types.js';
import { allocationKey, configKey } from '../control/keys.js';
import type { AllocationRecord } from '../control/records.js';
import { UnderstudyError } from '../errors.js';
import { keepMasks } from '../storage/target-main.js';
import { Codec } from '../store/etcd/codec.js';
import { EtcdStore } from '../store/etcd.js';
import { HostClock } from './clock.js';
import { Datagrams, type PacketListener } from './datagrams.js';
import { Effort, type Mood } from './effort.js';
import { EtcdCluster } from './etcd-cluster.js';
import { EtcdConnection } from './etcd-connection.js';
import type { KeyCommit } from './etcd-keys.js';
import { SimHost } from './host.js';
import { IscsiTarget } from './iscsi-target.js';
import { prepare } from './prepare.js';
import { SimProcess } from './process.js';
import { Random } from './random.js';
import type { Sabotage } from './sabotage.js';
import { Afflicted, StoreRoads } from './store-roads.js';
import { secondNs, VirtualTime } from './time.js';
import { Troubles } from './troubles.js';

/** What checkers are told. They look at machines, packets and the store, never at a decision. */
export interface Witness extends PacketListener {
  stored(change: StoredChange): void;
  /** `host` begins to read the volumes that it will write as this epoch. */
  read(target: string, host: string, epoch: number): void;
}

export interface StoredChange {
  readonly key: string;
  /** undefined: deleted. */
  readonly value: unknown;
  readonly revision: number;
}

export interface WorldOptions {
  readonly config: ClusterConfig;
  readonly seed: number;
  readonly sabotage: Sabotage;
  readonly witness: Witness;
  readonly log: Log;
  /** Something that can be seen from outside may have changed. */
  changed(): void;
}

/** Clock rates differ by at most the margin that the cluster counts on. */
const widestMarginPercent = 1;
const verifyEveryMs = 2_000;

/** A whole data centre in one process: hosts, networks, etcd, an iSCSI target. */
export class World {
  readonly config: ClusterConfig;
  readonly time = new VirtualTime();
  readonly troubles = new Troubles(this.time);
  readonly hosts: ReadonlyMap<string, SimHost>;
  readonly datagrams: Datagrams;
  readonly etcd: EtcdCluster;
  readonly target: IscsiTarget;
  readonly targetMood: Mood = { failing: 0, slowness: 1 };
  readonly operator: EtcdStore;
  readonly #options: WorldOptions;
  readonly #random: Random;
  readonly #prefix: string;
  readonly #allocation: AllocationRecord;
  readonly storeRoads = new StoreRoads();
  readonly #cutFromTarget = new Afflicted();
  readonly #targetClock: HostClock;
  readonly #end = new AbortController();
  #targetDaemon: SimProcess | undefined;

  constructor(options: WorldOptions) {
    this.#options = options;
    const { seed, witness, sabotage } = options;
    // Everything in here listens to it: many listeners are no leak.
    setMaxListeners(0, this.#end.signal);
    this.#random = new Random(seed, 'world');
    const { config, allocation } = prepare(options.config, this.#random);
    this.config = config;
    this.#prefix = `/understudy/${config.cluster}/`;
    this.datagrams = new Datagrams(this.time, new Random(seed, 'datagrams'), witness);
    this.etcd = new EtcdCluster(this.time, new Random(seed, 'etcd'), (commit) =>
      this.#committed(commit),
    );
    this.target = new IscsiTarget(options.changed, sabotage);
    this.#targetClock = this.#newClock();
    this.hosts = new Map(config.hosts.map((host) => [host.name, this.#newHost(host)]));
    this.operator = this.#openStore(
      new SimProcess('operator', this.time, this.#newClock(), this.#random),
      'operator',
    );
    this.#allocation = allocation;
  }

  /** The operator applies the file, then everything is switched on. */
  boot(): void {
    this.#put(configKey, { generation: 1, config: this.config });
    this.#put(allocationKey, this.#allocation);
    this.startTargetDaemon();
    for (const host of this.hosts.values()) host.boot();
  }

  /**
   * After the run. Node keeps signals that others were made of (AbortSignal.any) until they abort, and
   * with them all that listens: thousands of worlds would stay in memory.
   */
  end(): void {
    this.#end.abort(new Error('the run has ended'));
  }

  host(name: string): SimHost {
    const host = this.hosts.get(name);
    if (host === undefined) throw new Error(`no host ${name}`);
    return host;
  }

  cutFromTarget(host: string): void {
    this.#cutFromTarget.add(host);
    this.#options.changed();
  }

  joinToTarget(host: string): void {
    this.#cutFromTarget.remove(host);
    this.#options.changed();
  }

  /** Whether a write that this host sends now with this initiator's name would be carried out. */
  accepts(host: string, target: string, initiator: string): boolean {
    return !this.#cutFromTarget.has(host) && this.target.accepts(target, initiator);
  }

  get targetDaemon(): SimProcess | undefined {
    return this.#targetDaemon;
  }

  startTargetDaemon(): void {
    if (this.#targetDaemon !== undefined) return;
    const process = new SimProcess('target', this.time, this.#targetClock, this.#random);
    this.#targetDaemon = process;
    const { sabotage, log } = this.#options;
    const mask = this.target.mask(new Effort(process, this.#random, this.targetMood));
    const store = this.#openStore(process, 'target');
    const { timers } = process;
    const { signal } = this.#end;
    store.start(signal).then(
      () =>
        keepMasks(
          {
            store,
            mask: sabotage.mask?.(mask) ?? mask,
            log,
            timers,
            nowMs: timers.nowMs,
            verifyEveryMs,
          },
          signal,
        ),
      () => {
        this.killTargetDaemon();
        this.time.after(secondNs, () => this.startTargetDaemon());
      },
    );
  }

  killTargetDaemon(): void {
    this.#targetDaemon?.kill();
    this.#targetDaemon = undefined;
  }

  #newHost(config: ClusterConfig['hosts'][number]): SimHost {
    const { sabotage, log, changed, witness, seed } = this.#options;
    return new SimHost({
      config,
      time: this.time,
      clock: this.#newClock(),
      random: new Random(seed, config.name),
      datagrams: this.datagrams,
      sabotage,
      log,
      ended: this.#end.signal,
      changed,
      openStore: (process) => this.#openStore(process, config.name),
      letsIn: (target, initiator) => this.accepts(config.name, target, initiator),
      reserve: (target, initiator, epoch) => {
        if (this.#cutFromTarget.has(config.name)) throw targetAway(target);
        return this.target.reserve(target, initiator, epoch);
      },
      read: ({ target, epoch }) => witness.read(target, config.name, epoch),
      answering: (network, address) => this.#answering(network, address),
      switchOff: (host) => this.host(host).powerOff(),
    });
  }

  #newClock(): HostClock {
    const [slowest, fastest] = clockRates(this.config.timing.clockMarginPercent);
    const random = this.#random;
    // Often at the very bounds, where it matters.
    const rate = random.chance(0.5)
      ? random.pick([slowest, fastest])
      : random.between(slowest, fastest);
    return new HostClock(this.time, rate, Math.floor(random.between(100, 1e6) * secondNs));
  }

  #openStore(process: SimProcess, identity: string): EtcdStore {
    const { etcd, time } = this;
    return new EtcdStore({
      endpoints: etcd.members.map(({ name }) => name),
      prefix: this.#prefix,
      identity,
      timers: process.timers,
      newLease: () => this.#random.bytes(8).readBigUInt64BE() >> 1n || 1n,
      connect: (name) => {
        const member = etcd.members.find((found) => found.name === name);
        if (member === undefined) throw new Error(`no member ${name}`);
        return new EtcdConnection({
          cluster: etcd,
          member,
          process,
          time,
          random: this.#random,
          reaches: () => !this.storeRoads.cut.has(identity),
          late: () => this.storeRoads.lateRequests.has(identity),
          hearsLate: () => this.storeRoads.lateNews.has(identity),
        });
      },
    });
  }

  #put(key: string, value: object): void {
    const codec = new Codec(this.#prefix);
    const operation = { kind: 'put', key, value: JSON.stringify(value) } as const;
    const { commit } = this.etcd.keys.transact(
      codec.transaction({ compare: [], write: [operation] }),
    );
    this.etcd.write(commit);
  }

  #committed({ revision, events }: KeyCommit): void {
    for (const { key, type, kv } of events) {
      const value = type === 'Put' ? parse(kv.value.toString()) : undefined;
      this.#options.witness.stored({ key: key.slice(this.#prefix.length), value, revision });
    }
    this.#options.changed();
  }

  #answering(network: string, address: string): string | undefined {
    for (const { kernel, up } of this.hosts.values()) {
      if (!up) continue;
      for (const nic of kernel.nics()) {
        const here = nic.network === network && kernel.passes(nic);
        if (here && nic.addresses.some((found) => found.split('/')[0] === address)) return nic.mac;
      }
    }
    return undefined;
  }
}

/** Slowest and fastest that true clocks may be, so that the ratio of any two keeps the margin. */
export function clockRates(marginPercent: number): readonly [number, number] {
  const ratio = 1 + Math.min(marginPercent, widestMarginPercent) / 100;
  return [1 / Math.sqrt(ratio), Math.sqrt(ratio)];
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return text;
  }
}

function targetAway(target: string): UnderstudyError {
  return new UnderstudyError({
    code: 'US_STORAGE_UNREACHABLE',
    action: 'cannot reserve',
    object: target,
    cause: 'the target does not answer',
    remedy: 'mend the link',
  });
}
