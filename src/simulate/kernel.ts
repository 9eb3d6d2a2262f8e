import type { LeaseMaps } from '../agent/enrolment.js';
import type { NamespaceSpec, NicSpec, ObservedNamespace } from '../network/types.js';
import type { LeaseMap } from '../pulse/lease-map.js';
import type { HostClock } from './clock.js';
import type { Sabotage } from './sabotage.js';

/** The guard's deadline map of one incarnation, pinned in bpffs. */
interface PinnedMap {
  deadlineNs: bigint;
}

interface Nic {
  readonly spec: NicSpec;
  up: boolean;
  /** The guard on the device holds on to its map, also after that was unpinned. */
  readonly guard: { readonly incarnation: number; readonly map: PinnedMap };
}

interface Namespace {
  readonly name: string;
  readonly epoch: number;
  readonly incarnation: number;
  readonly nics: Map<string, Nic>;
}

/** A NIC whose frames pass or would pass, for whoever looks at the host from outside. */
export interface NicState {
  readonly namespace: string;
  readonly network: string;
  readonly mac: string;
  readonly addresses: readonly string[];
  readonly epoch: number;
  readonly incarnation: number;
  readonly up: boolean;
  /** End of what the guard lets pass, on the host's boot clock. */
  readonly deadlineNs: bigint;
}

/** One data path to a LUN: a process of its own on the host, which logs in again for ever. */
export interface DataPath {
  readonly personality: string;
  readonly lun: number;
  readonly epoch: number;
  readonly target: string;
  readonly initiator: string;
  mounted: boolean;
}

/** What stands in one host's kernel: it outlives agent and pulse, and ends with the power. */
export class Kernel {
  readonly #clock: HostClock;
  readonly #changed: () => void;
  readonly #sabotage: Sabotage;
  readonly #maps = new Map<string, PinnedMap>();
  readonly #onlyMap: PinnedMap = { deadlineNs: 0n };
  readonly #namespaces = new Map<string, Namespace>();
  readonly #abandoned: Namespace[] = [];
  readonly paths = new Map<string, DataPath>();
  readonly workloads = new Map<string, { readonly personality: string; readonly epoch: number }>();
  readonly networks = new Set<string>();

  /** `changed` is called after everything that may let a frame pass or stop it. */
  constructor(clock: HostClock, changed: () => void, sabotage: Sabotage) {
    this.#clock = clock;
    this.#changed = changed;
    this.#sabotage = sabotage;
  }

  readonly leaseMaps: LeaseMaps = {
    prepare: (incarnation) => {
      const path = mapPath(incarnation);
      const fresh = this.#sabotage.oneMap ? this.#onlyMap : { deadlineNs: 0n };
      if (!this.#maps.has(path)) this.#maps.set(path, fresh);
      return path;
    },
    forget: (incarnation) => {
      this.#maps.delete(mapPath(incarnation));
    },
  };

  openLeaseMap(path: string): LeaseMap {
    const map = this.#maps.get(path);
    if (map === undefined) throw new Error(`${path}: no such map`);
    return {
      raise: (deadlineNs) => {
        if (deadlineNs <= map.deadlineNs) return;
        const passed = this.#clock.bootNs() < map.deadlineNs;
        map.deadlineNs = deadlineNs;
        if (!passed) this.#changed();
      },
      read: () => map.deadlineNs,
      close: () => {},
    };
  }

  /** Whether the guard lets frames of this incarnation pass now. */
  leaseRuns(incarnation: number): boolean {
    const map = this.#maps.get(mapPath(incarnation));
    return map !== undefined && this.#clock.bootNs() < map.deadlineNs;
  }

  namespace(name: string): Pick<Namespace, 'epoch' | 'incarnation'> | undefined {
    return this.#namespaces.get(name);
  }

  makeNamespace({ name, epoch, incarnation }: NamespaceSpec): void {
    this.#namespaces.set(name, { name, epoch, incarnation, nics: new Map() });
  }

  /** What was prepared for any epoch, and never up, becomes this one's. */
  adoptPrepared({ name, epoch, incarnation }: NamespaceSpec): void {
    const there = this.#namespaces.get(name);
    if (there?.epoch !== 0 || there.incarnation !== incarnation) return;
    if ([...there.nics.values()].some(({ up }) => up)) return;
    this.#namespaces.set(name, { ...there, epoch });
  }

  silence(name: string): void {
    for (const nic of this.#namespaces.get(name)?.nics.values() ?? []) nic.up = false;
    this.#changed();
  }

  /** Guard first, then up: so that no frame passes before it. */
  setNic(name: string, spec: NicSpec, incarnation: number, quiet: boolean): void {
    const namespace = this.#namespaces.get(name);
    if (namespace === undefined) throw new Error(`no namespace ${name}`);
    const map = this.#maps.get(mapPath(incarnation));
    if (map === undefined) throw new Error(`no guard map of incarnation ${incarnation}`);
    const before = namespace.nics.get(spec.network);
    const up = !quiet || (before?.up ?? false);
    namespace.nics.set(spec.network, { spec, up, guard: before?.guard ?? { incarnation, map } });
    this.#changed();
  }

  removeNamespace(name: string): void {
    if (this.#namespaces.delete(name)) this.#changed();
  }

  /** Takes the name away only: what is in it goes on until the end of the machine. */
  abandonNamespace(name: string): void {
    const namespace = this.#namespaces.get(name);
    if (namespace === undefined) return;
    this.#namespaces.delete(name);
    this.#abandoned.push(namespace);
  }

  observe(): readonly ObservedNamespace[] {
    return [...this.#namespaces.values()].map(({ name, epoch, incarnation, nics }) => ({
      name,
      epoch,
      incarnation,
      up: [...nics.values()].every(({ up }) => up),
      nics: [...nics.values()].map(({ spec }) => spec),
    }));
  }

  nics(): readonly NicState[] {
    return [...this.#namespaces.values(), ...this.#abandoned].flatMap(({ name, epoch, nics }) =>
      [...nics.values()].map(({ spec, up, guard }) => ({
        namespace: name,
        network: spec.network,
        mac: spec.mac,
        addresses: spec.addresses,
        epoch,
        incarnation: guard.incarnation,
        up,
        deadlineNs: guard.map.deadlineNs,
      })),
    );
  }

  /** Whether frames of this NIC pass now, as the guard decides it. */
  passes(nic: NicState): boolean {
    const nowNs = this.#clock.bootNs();
    if (!nic.up) return false;
    if (this.#sabotage.guard === 'off') return true;
    return this.#sabotage.guard === 'late' ? nowNs <= nic.deadlineNs : nowNs < nic.deadlineNs;
  }

  setPath(path: DataPath): void {
    this.paths.set(pathId(path), path);
    this.#changed();
  }

  removePath(id: { readonly personality: string; readonly lun: number }): void {
    if (this.paths.delete(pathId(id))) this.#changed();
  }
}

export const mapPath = (incarnation: number): string =>
  `/sys/fs/bpf/understudy/lease-${incarnation}`;

function pathId({ personality, lun }: { readonly personality: string; readonly lun: number }) {
  return `${personality}/${lun}`;
}
