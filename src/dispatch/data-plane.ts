import { randomInt } from 'node:crypto';
import { basename, join } from 'node:path';
import { leaseName, openLease } from '../bpf/lease.js';
import { type BpfPlace, pinFolder } from '../bpf/place.js';
import { keyOf32, loadOnPins, type PinnedMap, sumPerCpu, unpin } from '../bpf/programs.js';
import type { TrafficReport } from '../control/records.js';
import type { LoadedObject } from '../ffi/bpf.js';
import {
  closeFd,
  lookupElement,
  type MapShape,
  possibleCpus,
  readArray,
  updateElement,
} from '../ffi/bpf-map.js';
import { bootNs } from '../ffi/clock.js';
import { runningProgramsEnded } from '../ffi/rcu.js';
import { countersOf, countWords, trafficWords } from './counters.js';
import { type FlowWords, flowGroups, flowGroupWords, flowTime, mergeFlows } from './flow-words.js';
import { removeFormerPins } from './former-pins.js';
import {
  type Counted,
  emptyLayout,
  type Fresh,
  type Layout,
  mostBirths,
  placeKey,
} from './layout.js';
import { shapes } from './map-shapes.js';
import type { RecordedFlows } from './memory.js';
import { notesBytes, packNotes, unpackNotes } from './notes.js';
import { keepsFlows } from './ring.js';
import { mostIds, packRing, ringBytes, unpackRing } from './ring-bytes.js';
import { RingMaps } from './ring-maps.js';
import {
  groupPlaces,
  packState,
  placeService,
  serviceBytes,
  servicesAt,
  stateBytes,
} from './state-bytes.js';

/** Entry points of native/dispatch.bpf.c. */
export const dispatchProgram = 'us_dispatch';
export const dispatchXdpProgram = 'us_dispatch_xdp';

type MapName = keyof typeof shapes;
const noneCounted: Counted = [0, 0, 0];

/**
 * The dispatcher's program and maps in the kernel. The maps are pinned and outlive this process, and so
 * do what packets go by, recorded flows and counters. A program belongs to one incarnation of this
 * host, by its lease; all share the maps.
 */
export class DataPlane {
  readonly #place: BpfPlace;
  readonly #loadsAll: boolean;
  /** By incarnation and name: each is loaded when it is needed, since the kernel takes long to check one. */
  readonly #programs = new Map<string, LoadedObject>();
  readonly #rings: RingMaps;
  #layout: Layout;
  /** The state that packets go by, as it was written; undefined until the first. */
  #state: Buffer | undefined;
  /** Resolves when no packet reads the other generation, or a ring of it alone, any more. */
  #otherIsFree: Promise<void>;
  readonly #maps: LoadedObject;

  /**
   * Loads the program of an incarnation, on the maps of an earlier process where there are any.
   *
   * @param programs 'all' for what shares more maps than are pinned
   * @throws {UnderstudyError} US_BPF_FILESYSTEM, US_BPF_LOAD, US_BPF_NOT_NOW, US_GUARD_NO_LEASE
   */
  constructor(place: BpfPlace, incarnation: number, programs: 'needed' | 'all' = 'needed') {
    this.#place = place;
    this.#loadsAll = programs === 'all';
    const { object, adopted } = this.#load(incarnation, dispatchProgram);
    removeFormerPins(place, new Set(pinnedMaps(place).map(({ path }) => basename(path))));
    this.#maps = object;
    this.#rings = new RingMaps(object.map('dispatch_rings'));
    this.#layout = adopted ? this.#readLayout() : firstLayout();
    this.#state = adopted ? this.#readState() : undefined;
    // An earlier process may have flipped just before it ended.
    this.#otherIsFree = adopted ? runningProgramsEnded() : Promise.resolve();
  }

  get layout(): Layout {
    return this.#layout;
  }

  /** Descriptors, which belong to this. @throws {UnderstudyError} US_BPF_LOAD, US_BPF_NOT_NOW, US_GUARD_NO_LEASE */
  programFd(incarnation: number, name: string): number {
    const loaded = this.#programs.get(this.#keyOf(incarnation, name));
    return (loaded ?? this.#load(incarnation, name).object).program(name);
  }

  /** Descriptor, which belongs to this. */
  mapFd(name: string): number {
    return this.#maps.map(name);
  }

  /**
   * Makes packets go by `planned`: written aside as a whole, then flipped to.
   *
   * @returns whether anything changed
   */
  async commit(planned: Layout, fresh: Fresh, nowMs: number): Promise<boolean> {
    const placed = [...planned.services.values()].map(
      ({ number, birth, bytes, ring, groups }) =>
        [number, placeService(bytes, birth, ring, groups)] as const,
    );
    const state = packState(new Map(placed), planned.others);
    if (this.#state?.equals(state)) {
      this.#layout = planned;
      return false;
    }
    await this.#otherIsFree;
    const layout = this.#fresh(planned, fresh);
    const idOf = (mac: string) => layout.ids.indexOf(mac);
    for (const { slot, ring } of layout.rings.values()) {
      if (this.#layout.rings.get(slot)?.ring === ring) continue;
      await this.#rings.write(slot, packRing(ring, idOf, nowMs));
    }
    const next = 1 - this.#readIndex();
    const both = next === 0 ? [state, this.#state] : [this.#state, state];
    const written = both.map((each) => each ?? Buffer.alloc(stateBytes));
    updateElement(this.#map('dispatch.bss'), keyOf32(0), Buffer.concat(written));
    updateElement(this.#map('dispatch_notes'), keyOf32(next), packNotes(layout));
    updateElement(this.#map('.data.active'), keyOf32(0), keyOf32(next));
    this.#state = state;
    this.#layout = layout;
    this.#otherIsFree = runningProgramsEnded();
    return true;
  }

  /** All that is recorded, and the packet program's time after it was read. */
  async flows(): Promise<{ readonly words: FlowWords; readonly time: number }> {
    const { buffer, byteOffset, length } = await readArray(
      this.#map('dispatch_flows'),
      shapes.dispatch_flows,
    );
    return { words: new Uint32Array(buffer, byteOffset, length / 4), time: flowTime(bootNs()) };
  }

  /**
   * Adds what another host recorded, of members that may keep flows in `planned`. To be done before packets go
   * by it. Should packets of other services write to a group just then, that record is lost.
   *
   * @returns how many were added
   */
  recall(planned: Layout, { macs, words }: RecordedFlows, nowMs: number): number {
    const keepers = new Set(
      [...planned.rings.values()].flatMap(({ ring }) =>
        ring.places.flatMap((place) => (keepsFlows(place, nowMs) ? [place.mac] : [])),
      ),
    );
    const idOf = new Int16Array(mostIds).fill(-1);
    for (const [theirs, mac] of macs.entries()) {
      if (keepers.has(mac)) idOf[theirs] = planned.ids.indexOf(mac);
    }
    const map = this.#map('dispatch_flows');
    const time = flowTime(bootNs());
    const own = new Uint32Array(flowGroupWords);
    const bytes = new Uint8Array(own.buffer);
    let added = 0;
    for (let group = 0; group < flowGroups; group += 1) {
      const theirs = words.subarray(group * flowGroupWords, (group + 1) * flowGroupWords);
      lookupElement(map, keyOf32(group), bytes);
      const more = mergeFlows(own, theirs, idOf, time);
      if (more > 0) updateElement(map, keyOf32(group), bytes);
      added += more;
    }
    return added;
  }

  /** Undefined when it dispatches no such service. */
  counters(service: string): TrafficReport | undefined {
    const placed = this.#layout.services.get(service);
    const ring = placed && this.#layout.rings.get(placed.ring)?.ring;
    if (placed === undefined || ring === undefined) return undefined;
    const groups = placed.groups.map((group) => this.#counted(group));
    return countersOf(service, ring.places, {
      counts: sumPerCpu(this.#map('dispatch_counts'), placed.number, countWords),
      traffic: (place) => {
        const index = Math.floor(place / groupPlaces);
        const within = place % groupPlaces;
        const now = groups[index]?.[within] ?? noneCounted;
        const key = placeKey(placed.groups[index] ?? 0, within);
        const before = this.#layout.counted.get(key) ?? noneCounted;
        return [now[0] - before[0], now[1] - before[1], now[2] - before[2]];
      },
    });
  }

  /** By place in the group, since the group has its owner. */
  #counted(group: number): readonly Counted[] {
    const traffic = sumPerCpu(this.#map('dispatch_traffic'), group, groupPlaces * trafficWords).map(
      Number,
    );
    const begun = sumPerCpu(this.#map('dispatch_begun'), group, groupPlaces).map(Number);
    return begun.map((flows, place) => {
      const [packets = 0, bytes = 0] = traffic.slice(place * trafficWords);
      return [packets, bytes, flows];
    });
  }

  /** Lets go of descriptors; what is attached runs on. */
  close(): void {
    this.#rings.close();
    for (const object of this.#programs.values()) object.close();
    this.#programs.clear();
  }

  #load(incarnation: number, name: string): Loaded {
    const loaded = loadProgram(this.#place, incarnation, this.#loadsAll ? undefined : name);
    this.#programs.set(this.#keyOf(incarnation, name), loaded.object);
    return loaded;
  }

  #keyOf(incarnation: number, name: string): string {
    return this.#loadsAll ? `${incarnation}` : `${incarnation} ${name}`;
  }

  #map(name: MapName): number {
    return this.#maps.map(name);
  }

  /** Counters with a new owner start at zero: those of a place, which packets may go by, by what they have. */
  #fresh(layout: Layout, { groups, places, services }: Fresh): Layout {
    const none = (words: number) => Buffer.alloc(possibleCpus() * words * 8);
    const counted = new Map(layout.counted);
    for (const group of groups) {
      updateElement(
        this.#map('dispatch_traffic'),
        keyOf32(group),
        none(groupPlaces * trafficWords),
      );
      updateElement(this.#map('dispatch_begun'), keyOf32(group), none(groupPlaces));
      for (let place = 0; place < groupPlaces; place += 1) counted.delete(placeKey(group, place));
    }
    for (const { group, place } of places) {
      counted.set(placeKey(group, place), this.#counted(group)[place] ?? noneCounted);
    }
    for (const number of services) {
      updateElement(this.#map('dispatch_counts'), keyOf32(number), none(countWords));
    }
    return { ...layout, counted };
  }

  #readIndex(): number {
    return this.#read('.data.active', 0, 4).readUInt32LE(0);
  }

  #readState(): Buffer {
    const start = this.#readIndex() * stateBytes;
    return this.#read('dispatch.bss', 0, 2 * stateBytes).subarray(start, start + stateBytes);
  }

  #readLayout(): Layout {
    const notes = this.#read('dispatch_notes', this.#readIndex(), notesBytes);
    if (notes.readUInt32LE() === 0) return emptyLayout;
    const state = this.#readState();
    return unpackNotes(
      notes,
      (number) => {
        const start = servicesAt + number * serviceBytes;
        return Buffer.from(state.subarray(start, start + serviceBytes));
      },
      (slot, noted) => unpackRing(this.#rings.read(slot, ringBytes), noted),
    );
  }

  #read(name: MapName, index: number, bytes: number): Buffer {
    const value = Buffer.alloc(bytes);
    lookupElement(this.#map(name), keyOf32(index), value);
    return value;
  }
}

/** Hosts hand records on under these numbers: those of two hosts are not to be the same ones by habit. */
function firstLayout(): Layout {
  return { ...emptyLayout, births: randomInt(mostBirths) };
}

interface Loaded {
  readonly object: LoadedObject;
  /** On maps of an earlier process. */
  readonly adopted: boolean;
}

function loadProgram(place: BpfPlace, incarnation: number, name: string | undefined): Loaded {
  const lease = openLease(join(pinFolder(place), leaseName(incarnation)));
  try {
    return loadOnPins(place, 'dispatch', pinnedMaps(place), new Map([['lease', lease]]), name);
  } finally {
    closeFd(lease);
  }
}

/** Takes the pins away; what is attached runs on. Idempotent. */
export function removePins(place: BpfPlace): void {
  for (const { path } of pinnedMaps(place)) unpin(path);
}

function pinnedMaps(place: BpfPlace): readonly PinnedMap[] {
  const folder = pinFolder(place, 'dispatch');
  return Object.entries(shapes).map(([name, shape]: [string, MapShape]) => ({
    name,
    // In the bpf filesystem no name has a dot.
    path: join(folder, name.replaceAll('.', '_')),
    shape,
  }));
}
