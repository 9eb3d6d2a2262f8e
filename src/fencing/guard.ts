import { join } from 'node:path';
import { ensureFilter, type FilterSpot } from '../bpf/attach.js';
import { closedLease, ensureLeaseMap, leaseName, openLease } from '../bpf/lease.js';
import { type BpfLog, type BpfPlace, pinFolder } from '../bpf/place.js';
import { loadOnPins, type PinnedMap, sumPerCpu, unpin } from '../bpf/programs.js';
import type { LoadedObject } from '../ffi/bpf.js';
import { closeFd, mapInfo, mapType } from '../ffi/bpf-map.js';
import type { Guard } from '../network/types.js';

export interface BpfGuardOptions extends BpfPlace {
  readonly log: BpfLog;
}

export interface GuardCounters {
  readonly inPassed: number;
  readonly inDropped: number;
  readonly outPassed: number;
  readonly outDropped: number;
}

/** First of all filters: nothing gets past it. */
const guardPriority = 1;
/** 'us'. */
const guardHandle = 0x7573;
/** native/guard.bpf.c. */
const counterShape = { type: mapType.perCpuArray, keyBytes: 4, valueBytes: 8, maxEntries: 4 };

interface Loaded {
  readonly object: LoadedObject;
  /** Id of the lease map it was loaded on. */
  readonly leaseId: number;
}

/**
 * The lease that the kernel enforces: a program at both hooks of a NIC that drops every frame from
 * the deadline on which stands in a pinned map, one map for each incarnation of this host. Pulse moves
 * the deadline; no process needs to be awake for it to pass.
 *
 * What it cannot stop: frames that bypass tc altogether (a packet socket with PACKET_QDISC_BYPASS or
 * an AF_XDP socket in the namespace, both for root there only).
 */
export class BpfGuard implements Guard {
  readonly #options: BpfGuardOptions;
  readonly #loaded = new Map<number, Loaded>();
  /** On a lease that nobody holds. */
  #closed: LoadedObject | undefined;

  constructor(options: BpfGuardOptions) {
    this.#options = options;
  }

  /**
   * Makes and pins the map of an incarnation; a new one lets nothing pass. Idempotent: the map of an
   * earlier process is kept, with its deadline.
   *
   * @returns the pin's path, for pulse
   * @throws {UnderstudyError} US_BPF_FILESYSTEM, US_BPF_MAP, US_GUARD_NO_LEASE
   */
  prepare(incarnation: number): string {
    const path = this.#leasePath(incarnation);
    ensureLeaseMap(path);
    // Loading takes milliseconds, and whoever needs it is in a hurry.
    this.#loadClosed();
    return path;
  }

  /**
   * Guards a NIC. Idempotent: a guard of an earlier process on the same map stays.
   *
   * @throws {UnderstudyError} US_GUARD_NO_LEASE, US_BPF_LOAD, US_BPF_ATTACH, US_BPF_TAKEN
   */
  attach(namespacePath: string, interfaceName: string, incarnation: number): void {
    const { object } = this.#load(incarnation);
    for (const hook of ensureFilters(namespacePath, interfaceName, object)) {
      // Looked at again and again: only what was not there is worth a word.
      this.#options.log.info({ namespacePath, interfaceName, hook, incarnation }, 'guard attached');
    }
  }

  /**
   * Swaps the guard for one on a lease that nobody holds: from now on nothing passes, in or out, in one step
   * each. It outlives this process like any other; `attach` swaps it back. Idempotent.
   *
   * @throws {UnderstudyError} US_BPF_LOAD, US_BPF_ATTACH, US_BPF_TAKEN
   */
  shut(namespacePath: string, interfaceName: string): void {
    ensureFilters(namespacePath, interfaceName, this.#loadClosed());
  }

  /** Takes the pins of an incarnation away. NICs that it still guards stay guarded. */
  forget(incarnation: number): void {
    this.#loaded.get(incarnation)?.object.close();
    this.#loaded.delete(incarnation);
    unpin(this.#leasePath(incarnation));
    unpin(this.#counters(incarnation).path);
  }

  /** Frames of all NICs guarded for an incarnation, since the first of them. */
  counters(incarnation: number): GuardCounters {
    const fd = this.#load(incarnation).object.map('guard_counters');
    const [inPassed = 0, inDropped = 0, outPassed = 0, outDropped = 0] = [0, 1, 2, 3].map((slot) =>
      Number(sumPerCpu(fd, slot, 1)[0]),
    );
    return { inPassed, inDropped, outPassed, outDropped };
  }

  /** Lets go of descriptors; NICs stay guarded. */
  close(): void {
    for (const { object } of this.#loaded.values()) object.close();
    this.#loaded.clear();
    this.#closed?.close();
    this.#closed = undefined;
  }

  #loadClosed(): LoadedObject {
    if (this.#closed !== undefined) return this.#closed;
    const lease = closedLease();
    try {
      const given = new Map([['lease', lease]]);
      this.#closed = loadOnPins(this.#options, 'guard', [], given).object;
      return this.#closed;
    } finally {
      closeFd(lease);
    }
  }

  #load(incarnation: number): Loaded {
    const lease = openLease(this.#leasePath(incarnation));
    try {
      const leaseId = mapInfo(lease).id;
      const kept = this.#loaded.get(incarnation);
      if (kept?.leaseId === leaseId) return kept;
      kept?.object.close();
      const given = new Map([['lease', lease]]);
      const counters = this.#counters(incarnation);
      const { object } = loadOnPins(this.#options, 'guard', [counters], given);
      const loaded = { object, leaseId };
      this.#loaded.set(incarnation, loaded);
      return loaded;
    } finally {
      closeFd(lease);
    }
  }

  #leasePath(incarnation: number): string {
    return join(pinFolder(this.#options), leaseName(incarnation));
  }

  #counters(incarnation: number): PinnedMap {
    const path = join(pinFolder(this.#options), `guard-${incarnation}`);
    return { name: 'guard_counters', path, shape: counterShape };
  }
}

/** @returns at which hooks something changed */
function ensureFilters(
  namespacePath: string,
  interfaceName: string,
  object: LoadedObject,
): readonly FilterSpot['hook'][] {
  const spot = { namespacePath, interfaceName, priority: guardPriority, handle: guardHandle };
  const hooks: readonly [FilterSpot['hook'], string][] = [
    ['egress', 'us_guard_out'],
    ['ingress', 'us_guard_in'],
  ];
  return hooks.flatMap(([hook, program]) =>
    ensureFilter({ ...spot, hook }, object.program(program)) === 'kept' ? [] : [hook],
  );
}
