import { faultsIn, quantile, simulatedPerSecond, type Totals } from './series.js';

/** Text for people: rows of cells, which the caller lines up. */
export interface Report {
  readonly head: string;
  readonly tables: readonly (readonly (readonly string[])[])[];
  readonly verdict: readonly string[];
}

export function reportOf(totals: Totals, what: string, replay: (seed: number) => string): Report {
  const { runs, simulatedMs, faults, gaps, violations, recoveries, startedMs } = totals;
  const elapsed = seconds(performance.now() - startedMs);
  const speed = Math.round(simulatedPerSecond(totals));
  const head = `${what}: ${seconds(simulatedMs)} simulated in ${elapsed} (${speed} s a second), ${plural(runs, 'run')}, ${plural(faultsIn(totals), 'fault')}`;
  const kinds = [...faults].sort(([, a], [, b]) => b - a).map(([kind, n]) => [kind, String(n)]);
  const roles = [...gaps].map(([role, lengths]) => [
    role,
    String(lengths.length),
    seconds(quantile(lengths, 0.5) ?? 0),
    seconds(longest(lengths)),
  ]);
  const slowest = recoveries.length === 0 ? '-' : seconds(longest(recoveries));
  return {
    head,
    tables: [
      ...(kinds.length === 0 ? [] : [[['FAULT', 'TIMES'], ...kinds]]),
      ...(roles.length === 0 ? [] : [[['ROLE', 'GAPS', 'MEDIAN', 'LONGEST'], ...roles]]),
    ],
    verdict: [
      `everything worked again ${slowest} after the last fault at the latest`,
      ...(violations.length === 0 ? ['no violations'] : []),
      ...violations.flatMap(({ seed, atMs, invariant, text }) => [
        `violated: ${invariant}, seed ${seed} at ${seconds(atMs)}: ${text}`,
        `  replay: ${replay(seed)}`,
      ]),
    ],
  };
}

/** The same for programs. */
export function jsonOf(totals: Totals, replay: (seed: number) => string): object {
  const { runs, simulatedMs, faults, gaps, violations, recoveries, startedMs } = totals;
  return {
    ok: violations.length === 0,
    runs,
    simulatedMs: Math.round(simulatedMs),
    elapsedMs: Math.round(performance.now() - startedMs),
    simulatedPerSecond: Math.round(simulatedPerSecond(totals)),
    faults: Object.fromEntries(faults),
    gaps: [...gaps].map(([role, lengths]) => ({
      role,
      count: lengths.length,
      medianMs: Math.round(quantile(lengths, 0.5) ?? 0),
      longestMs: Math.round(longest(lengths)),
    })),
    recoveredWithinMs: Math.round(longest(recoveries)),
    violations: violations.map(({ seed, atMs, invariant, text }) => ({
      seed,
      atMs: Math.round(atMs),
      invariant,
      text,
      replay: replay(seed),
    })),
  };
}

/** Of a nightly's gaps: more than a call takes arguments. */
function longest(lengthsMs: readonly number[]): number {
  return lengthsMs.reduce((most, one) => Math.max(most, one), 0);
}

export function seconds(ms: number): string {
  return ms >= 600_000 ? `${(ms / 3_600_000).toFixed(2)} h` : `${(ms / 1_000).toFixed(2)} s`;
}

function plural(count: number, what: string): string {
  return `${count} ${what}${count === 1 ? '' : 's'}`;
}
