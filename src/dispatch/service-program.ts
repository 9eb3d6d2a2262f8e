import { readdirSync, rmdirSync } from 'node:fs';
import { join } from 'node:path';
import { ensureFilter, type FilterSpot } from '../bpf/attach.js';
import { leaseName, openLease } from '../bpf/lease.js';
import { type BpfPlace, pinFolder, pinName } from '../bpf/place.js';
import { keyOf32, loadOnPins, type PinnedMap, sumPerCpu, unpin } from '../bpf/programs.js';
import type { LoadedObject } from '../ffi/bpf.js';
import {
  closeFd,
  lookupElement,
  type MapShape,
  mapType,
  possibleCpus,
  updateElement,
} from '../ffi/bpf-map.js';
import { runningProgramsEnded } from '../ffi/rcu.js';
import { generationBytes, packGeneration } from './generation.js';
import { assignSlots, nameBytes } from './member-slots.js';
import { mostMembers } from './table.js';
import type { DispatchCounters, DispatchSpec } from './types.js';

export const dispatchProgram = 'us_dispatch';

/** `enum outcome` of native/dispatch.h: what happened to packets that no member got. */
const outcomes = [
  'passed',
  'lease',
  'no-member',
  'malformed',
  'too-deep',
  'loop',
  'write',
] as const;
const outcomeSlots = 8;
const trafficWords = 2;

/** native/dispatch.h. */
const shapes = {
  dispatch_gens: {
    type: mapType.array,
    keyBytes: 4,
    valueBytes: generationBytes,
    maxEntries: 2,
  },
  dispatch_active: { type: mapType.array, keyBytes: 4, valueBytes: 4, maxEntries: 1 },
  dispatch_traffic: {
    type: mapType.perCpuArray,
    keyBytes: 4,
    valueBytes: trafficWords * 8,
    maxEntries: mostMembers,
  },
  dispatch_counts: {
    type: mapType.perCpuArray,
    keyBytes: 4,
    valueBytes: 8,
    maxEntries: outcomeSlots,
  },
  dispatch_names: {
    type: mapType.array,
    keyBytes: 4,
    valueBytes: nameBytes,
    maxEntries: mostMembers,
  },
} as const satisfies Record<string, MapShape>;

type MapName = keyof typeof shapes;

/**
 * One service's program and maps in the kernel, for one incarnation of this host. The maps are pinned
 * and outlive this process, and so do generation, counters and who has which of them.
 */
export class ServiceProgram {
  readonly service: string;
  readonly incarnation: number;
  readonly #object: LoadedObject;
  #names: readonly string[];
  /** The generation that packets go by, as it was written; undefined until the first. */
  #active: Buffer | undefined;
  /** Resolves when no packet reads the other generation any more. */
  #otherIsFree: Promise<void>;

  /**
   * Loads the program, on the maps of an earlier process where there are any.
   *
   * @throws {UnderstudyError} US_BPF_FILESYSTEM, US_BPF_LOAD, US_GUARD_NO_LEASE
   */
  constructor(place: BpfPlace, service: string, incarnation: number) {
    this.service = service;
    this.incarnation = incarnation;
    const lease = openLease(join(pinFolder(place), leaseName(incarnation)));
    try {
      const given = new Map([['lease', lease]]);
      const pins = pinnedMaps(place, service);
      const { object, adopted } = loadOnPins(place, 'dispatch', pins, given);
      this.#object = object;
      this.#names = adopted ? this.#readNames() : [];
      this.#active = adopted ? this.#readActive() : undefined;
      // An earlier process may have flipped just before it ended.
      this.#otherIsFree = adopted ? runningProgramsEnded() : Promise.resolve();
    } finally {
      closeFd(lease);
    }
  }

  /** Runs it at ingress of the service's own NIC; a program of an earlier process is kept if it is as good. */
  attach(spot: FilterSpot): 'kept' | 'attached' {
    return ensureFilter(spot, this.programFd);
  }

  /**
   * Makes packets go by `spec`: written aside as a whole, then flipped to. Does nothing when they do
   * already.
   *
   * @returns whether anything changed
   * @throws {UnderstudyError} US_DISPATCH_SPEC
   */
  async update(spec: DispatchSpec): Promise<boolean> {
    const members = spec.members.map(({ personality }) => personality);
    const { names, fresh } = assignSlots(this.service, this.#names, members);
    const bytes = packGeneration(spec, (personality) => names.indexOf(personality));
    if (this.#active?.equals(bytes)) return false;
    await this.#otherIsFree;
    for (const slot of fresh) this.#giveSlot(slot, names[slot] ?? '');
    this.#names = names;
    const next = this.#active === undefined ? 0 : 1 - this.#readIndex();
    updateElement(this.#map('dispatch_gens'), keyOf32(next), bytes);
    updateElement(this.#map('dispatch_active'), keyOf32(0), keyOf32(next));
    this.#active = bytes;
    this.#otherIsFree = runningProgramsEnded();
    return true;
  }

  counters(): DispatchCounters {
    const traffic = this.#map('dispatch_traffic');
    const counts = this.#map('dispatch_counts');
    const forwarded = this.#names.flatMap((personality, slot) => {
      if (personality === '') return [];
      const [packets = 0n, bytes = 0n] = sumPerCpu(traffic, slot, trafficWords);
      return [{ personality, packets: Number(packets), bytes: Number(bytes) }];
    });
    const count = (slot: number) => Number(sumPerCpu(counts, slot, 1)[0]);
    const dropped = outcomes.flatMap((outcome, slot) =>
      outcome === 'passed' ? [] : [[outcome, count(slot)] as const],
    );
    return {
      service: this.service,
      forwarded: forwarded.sort((one, other) => (one.personality < other.personality ? -1 : 1)),
      passed: count(outcomes.indexOf('passed')),
      dropped: Object.fromEntries(dropped),
    };
  }

  /** Descriptor, which belongs to this. */
  get programFd(): number {
    return this.#object.program(dispatchProgram);
  }

  /** Lets go of descriptors; what is attached runs on. */
  close(): void {
    this.#object.close();
  }

  #map(name: MapName): number {
    return this.#object.map(name);
  }

  #giveSlot(slot: number, name: string): void {
    const zeros = Buffer.alloc(possibleCpus() * trafficWords * 8);
    updateElement(this.#map('dispatch_traffic'), keyOf32(slot), zeros);
    const text = Buffer.alloc(nameBytes);
    text.write(name);
    updateElement(this.#map('dispatch_names'), keyOf32(slot), text);
  }

  #readIndex(): number {
    const value = Buffer.alloc(4);
    lookupElement(this.#map('dispatch_active'), keyOf32(0), value);
    return value.readUInt32LE(0);
  }

  #readActive(): Buffer {
    const value = Buffer.alloc(generationBytes);
    lookupElement(this.#map('dispatch_gens'), keyOf32(this.#readIndex()), value);
    return value;
  }

  #readNames(): readonly string[] {
    const names: string[] = [];
    const value = Buffer.alloc(nameBytes);
    for (let slot = 0; slot < mostMembers; slot += 1) {
      lookupElement(this.#map('dispatch_names'), keyOf32(slot), value);
      const name = value.toString('utf8', 0, value.indexOf(0));
      // Slots are given from the lowest on.
      if (name === '') break;
      names.push(name);
    }
    return names;
  }
}

/** Services that have pins here. */
export function pinnedServices(place: BpfPlace): readonly string[] {
  const prefix = 'dispatch-';
  return readdirSync(pinFolder(place))
    .filter((name) => name.startsWith(prefix))
    .map((name) => decodeURIComponent(name.slice(prefix.length)));
}

/** Takes a service's pins away; what is attached runs on. Idempotent. */
export function removePins(place: BpfPlace, service: string): void {
  for (const { path } of pinnedMaps(place, service)) unpin(path);
  rmdirSync(serviceFolder(place, service));
}

function pinnedMaps(place: BpfPlace, service: string): readonly PinnedMap[] {
  const folder = serviceFolder(place, service);
  return Object.entries(shapes).map(([name, shape]) => ({ name, path: join(folder, name), shape }));
}

function serviceFolder(place: BpfPlace, service: string): string {
  return pinFolder(place, `dispatch-${pinName(service)}`);
}
