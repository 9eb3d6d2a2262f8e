import type { TrafficReport } from '../control/records.js';
import type { Place } from './ring.js';

/** `enum outcome` of native/dispatch.h: what happened to packets that no member got. */
const outcomes = ['passed', 'lease', 'no-member', 'malformed', 'too-deep', 'loop'] as const;
/** `struct counts`. */
export const countWords = outcomes.length;
/** `struct traffic`. */
export const trafficWords = 2;

export interface ReadCounters {
  readonly counts: readonly bigint[];
  /** Packets, bytes, new flows. */
  traffic(place: number): readonly [number, number, number];
}

export function countersOf(
  service: string,
  places: readonly Place[],
  { counts, traffic }: ReadCounters,
): TrafficReport {
  const forwarded = places.map(({ personality }, place) => {
    const [packets, bytes, newFlows] = traffic(place);
    return { personality, packets, bytes, newFlows };
  });
  const count = (at: number) => Number(counts[at] ?? 0n);
  const dropped = outcomes.flatMap((outcome, at) =>
    outcome === 'passed' ? [] : [[outcome, count(at)] as const],
  );
  return {
    service,
    received: sum([
      ...forwarded.map(({ packets }) => packets),
      ...outcomes.map((_, at) => count(at)),
    ]),
    forwarded: forwarded.sort((one, other) => (one.personality < other.personality ? -1 : 1)),
    passed: count(0),
    dropped: Object.fromEntries(dropped),
  };
}

function sum(counts: readonly number[]): number {
  return counts.reduce((total, count) => total + count, 0);
}
