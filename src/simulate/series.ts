import type { ClusterConfig } from '../config/types.js';
import type { Violation } from './checks/check.js';
import { type RunOptions, type RunResult, run } from './run.js';

export interface SeriesOptions extends Pick<RunOptions, 'faults' | 'kinds' | 'kills' | 'tell'> {
  readonly firstSeed: number;
  readonly signal: AbortSignal;
  configOf(seed: number): ClusterConfig;
  /** Whether to run one more, looked at before each. */
  more(totals: Totals): boolean;
  /** After each run. */
  ran?(result: RunResult, totals: Totals): void;
}

export interface Totals {
  runs: number;
  readonly faults: Map<string, number>;
  readonly violations: (Violation & { readonly seed: number })[];
  /** By role: how long it was away, ms. */
  readonly gaps: Map<string, number[]>;
  /** From the last fault until everything worked, ms. */
  readonly recoveries: number[];
  simulatedMs: number;
  readonly startedMs: number;
}

export function noTotals(): Totals {
  return {
    runs: 0,
    faults: new Map(),
    violations: [],
    gaps: new Map(),
    recoveries: [],
    simulatedMs: 0,
    startedMs: performance.now(),
  };
}

/** Adds what another thread did meanwhile. */
export function merge(totals: Totals, other: Omit<Totals, 'startedMs'>): void {
  totals.runs += other.runs;
  totals.simulatedMs += other.simulatedMs;
  for (const [kind, count] of other.faults) {
    totals.faults.set(kind, (totals.faults.get(kind) ?? 0) + count);
  }
  for (const [role, lengths] of other.gaps) {
    totals.gaps.set(role, (totals.gaps.get(role) ?? []).concat(lengths));
  }
  totals.violations.push(...other.violations);
  totals.recoveries.push(...other.recoveries);
}

/** Seed after seed. */
export async function series(options: SeriesOptions): Promise<Totals> {
  const totals = noTotals();
  const { signal, configOf, more, ran, firstSeed, ...each } = options;
  for (let seed = firstSeed; more(totals) && !signal.aborted; seed++) {
    const result = await run({ ...each, signal, seed, config: configOf(seed) });
    add(totals, result);
    ran?.(result, totals);
  }
  return totals;
}

export function faultsIn({ faults }: Totals): number {
  return [...faults.values()].reduce((sum, count) => sum + count, 0);
}

export function simulatedPerSecond({ simulatedMs, startedMs }: Totals): number {
  return simulatedMs / Math.max(1, performance.now() - startedMs);
}

/** 0.5 for the median; undefined of nothing. */
export function quantile(values: readonly number[], part: number): number | undefined {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(part * sorted.length))];
}

function add(totals: Totals, result: RunResult): void {
  totals.runs++;
  totals.simulatedMs += result.simulatedMs;
  for (const { kind } of result.faults) {
    totals.faults.set(kind, (totals.faults.get(kind) ?? 0) + 1);
  }
  for (const { role, startMs, endMs } of result.gaps) {
    const known = totals.gaps.get(role) ?? [];
    totals.gaps.set(role, known);
    known.push(endMs - startMs);
  }
  const [first] = result.violations;
  // What follows the first may only be its consequence.
  if (first !== undefined) totals.violations.push({ ...first, seed: result.seed });
  if (result.recoveredMs !== undefined) totals.recoveries.push(result.recoveredMs);
}
