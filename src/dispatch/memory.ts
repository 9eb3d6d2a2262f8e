import type { FlowWords } from './flow-words.js';
import type { Layout } from './layout.js';
import type { Ring } from './ring.js';
import type { DispatchSpec } from './types.js';

/** What a service's next dispatcher cannot know of itself: all else is made of what is in the store. */
export interface ServiceMemory {
  readonly service: string;
  /** What its records are told from others' by (`PlacedService.birth`). */
  readonly birth: number;
  /** Which slots changed hands, and whose they were; undefined: none did. */
  readonly ring: Ring | undefined;
}

/** Recorded flows of one host, of all of its services: what a record is of cannot be told. */
export interface RecordedFlows {
  readonly words: FlowWords;
  /** MACs of members by the ID that records name them by. */
  readonly macs: readonly string[];
}

/** For a dispatcher that begins: what the one before it knew. */
export interface Inherited extends Omit<ServiceMemory, 'service'> {
  readonly flows: RecordedFlows;
}

/** What a host that dispatches remembers, at one moment. */
export interface Memory {
  readonly services: readonly ServiceMemory[];
  readonly flows: RecordedFlows;
  /** The packet program's time then. */
  readonly time: number;
}

/** A connection that begins while a slot is tracked is lost to the next dispatcher until it was told. */
const trackedEveryMs = 250;
/** Nothing new is recorded then, or nothing that goes elsewhere than by the table. */
const elseEveryMs = 2_000;

const tracking = new WeakMap<Ring, boolean>();

function tracks(ring: Ring): boolean {
  const known = tracking.get(ring) ?? ring.flags.some((flag) => flag !== 0);
  tracking.set(ring, known);
  return known;
}

/** Services that have anything to remember now. */
export function remembered(
  { services, rings }: Layout,
  specs: ReadonlyMap<string, DispatchSpec>,
): readonly ServiceMemory[] {
  return [...services].flatMap(([service, { birth, ring: slot }]) => {
    const ring = rings.get(slot)?.ring;
    const tracked = ring !== undefined && tracks(ring);
    const sticky = (specs.get(service)?.udpStickyMs ?? 0) > 0;
    return tracked || sticky ? [{ service, birth, ring: tracked ? ring : undefined }] : [];
  });
}

/** How often it is worth telling; undefined: there is nothing. */
export function everyMs(services: readonly ServiceMemory[], nowMs: number): number | undefined {
  if (services.length === 0) return undefined;
  const inWindow = services.some(({ ring }) => ring !== undefined && ring.windowUntilMs > nowMs);
  return inWindow ? trackedEveryMs : elseEveryMs;
}
