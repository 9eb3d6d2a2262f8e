import { join } from 'node:path';
import { ensureFilter, type FilterSpot, removeFilter } from '../bpf/attach.js';
import { leaseName, openLease } from '../bpf/lease.js';
import { type BpfLog, type BpfPlace, pinFolder } from '../bpf/place.js';
import { loadOnPins } from '../bpf/programs.js';
import type { LoadedObject } from '../ffi/bpf.js';
import { closeFd, mapInfo } from '../ffi/bpf-map.js';

const programName = 'us_departures';

interface Loaded {
  readonly object: LoadedObject;
  /** Ids of the lease map and of the map of networks that it was loaded on. */
  readonly ids: string;
}

/**
 * The lease once more, where VXLAN frames leave the host: what passed the guard may since have waited for
 * a neighbour (native/departures.bpf.c).
 */
export class Departures {
  readonly #place: BpfPlace & { readonly log: BpfLog };
  readonly #spot: FilterSpot;
  #loaded: Loaded | undefined;

  constructor(place: BpfPlace & { readonly log: BpfLog }, spot: FilterSpot) {
    this.#place = place;
    this.#spot = spot;
  }

  /**
   * Idempotent; one for another incarnation is swapped in one step.
   *
   * @param networksFd the peer filter's map of networks
   * @throws {UnderstudyError} US_GUARD_NO_LEASE, US_BPF_LOAD, US_BPF_ATTACH, US_BPF_TAKEN
   */
  hold(incarnation: number, networksFd: number): void {
    const { object } = this.#load(incarnation, networksFd);
    const done = ensureFilter(this.#spot, object.program(programName));
    if (done === 'kept') return;
    const { interfaceName } = this.#spot;
    this.#place.log.info({ interfaceName, incarnation }, 'departures held to the lease');
  }

  /** Takes the filter off. */
  release(): void {
    removeFilter(this.#spot, programName);
    this.close();
  }

  /** Lets go of descriptors; the filter stays. */
  close(): void {
    this.#loaded?.object.close();
    this.#loaded = undefined;
  }

  #load(incarnation: number, networksFd: number): Loaded {
    const lease = openLease(join(pinFolder(this.#place), leaseName(incarnation)));
    try {
      const ids = `${mapInfo(lease).id} ${mapInfo(networksFd).id}`;
      if (this.#loaded?.ids === ids) return this.#loaded;
      this.close();
      const given = new Map([
        ['lease', lease],
        ['peer_networks', networksFd],
      ]);
      const { object } = loadOnPins(this.#place, 'departures', [], given);
      this.#loaded = { object, ids };
      return this.#loaded;
    } finally {
      closeFd(lease);
    }
  }
}
