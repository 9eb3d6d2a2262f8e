import type { ClusterConfig } from '../../config/types.js';
import { UnderstudyError } from '../../errors.js';
import { jsonOf, reportOf, seconds } from '../../simulate/report.js';
import { type RunOptions, type RunResult, run as runSeed } from '../../simulate/run.js';
import { faultsIn, series, simulatedPerSecond } from '../../simulate/series.js';
import { systemTimers } from '../../store/timers.js';
import { printProblems, readClusterFile } from '../cluster-file.js';
import { table } from '../output.js';
import { Progress } from '../progress.js';

/** Faults of one run; then everything must work again. */
const faultsEach = 20;
const defaultHours = 0.25;

export interface SimulateOptions {
  readonly file: string;
  readonly json: boolean;
  readonly signal: AbortSignal;
  /** Alone: this one run, told line by line. With `hours`: the first one. */
  readonly seed?: number;
  readonly hours?: number;
  /** `HOST@TIME`. */
  readonly kill: readonly string[];
}

/** Runs the cluster file against faults on a virtual clock. */
export async function run(options: SimulateOptions): Promise<number> {
  const parsed = readClusterFile(options.file);
  if (!parsed.ok) {
    printProblems(options.file, parsed.problems, options.json);
    return 2;
  }
  const { config } = parsed;
  const kills = options.kill.map((text) => parseKill(text, config));
  const seed = options.seed ?? 1;
  const one = kills.length > 0 || (options.seed !== undefined && options.hours === undefined);
  if (!one) return many(options, config, seed);
  const faults = kills.length > 0 ? 0 : faultsEach;
  return tell(options, { config, seed, faults, kills });
}

async function many(
  options: SimulateOptions,
  config: ClusterConfig,
  firstSeed: number,
): Promise<number> {
  const { file, json, signal, hours = defaultHours } = options;
  const wantedMs = hours * 3_600_000;
  const progress = new Progress('simulating', process.stderr, systemTimers());
  const totals = await series({
    firstSeed,
    faults: faultsEach,
    signal,
    configOf: () => config,
    more: ({ simulatedMs }) => simulatedMs < wantedMs,
    ran: (_result, so) =>
      progress.set(
        Math.round(so.simulatedMs / 1_000),
        Math.round(wantedMs / 1_000),
        `s; ${so.runs} runs, ${faultsIn(so)} faults, ${so.violations.length} violations, ${Math.round(simulatedPerSecond(so))} simulated seconds a second`,
      ),
  });
  progress.end();
  const replay = (seed: number) => `understudy simulate ${file} --seed ${seed}`;
  if (json) {
    process.stdout.write(
      `${JSON.stringify({ cluster: config.cluster, firstSeed, ...jsonOf(totals, replay) })}\n`,
    );
  } else {
    const { head, tables, verdict } = reportOf(totals, config.cluster, replay);
    process.stdout.write(`${[head, ...tables.map(table), verdict.join('\n')].join('\n\n')}\n`);
  }
  return totals.violations.length === 0 ? 0 : 1;
}

/** One run, line by line. */
async function tell(
  { json, signal }: SimulateOptions,
  options: Omit<RunOptions, 'signal'>,
): Promise<number> {
  const say = (atMs: number, text: string) => {
    if (!json) process.stdout.write(`${seconds(atMs).padStart(10)}  ${text}\n`);
  };
  const result = await runSeed({ ...options, signal, tell: say });
  const ok = result.violations.length === 0;
  if (json) process.stdout.write(`${JSON.stringify(jsonOfOne(result))}\n`);
  else {
    for (const { atMs, invariant, text } of result.violations) {
      say(atMs, `violated: ${invariant}: ${text}`);
    }
    process.stdout.write(ok ? 'no violations\n' : '');
  }
  return ok ? 0 : 1;
}

function jsonOfOne(result: RunResult): object {
  const round = (ms: number) => Math.round(ms * 1_000) / 1_000;
  return {
    ok: result.violations.length === 0,
    seed: result.seed,
    simulatedMs: Math.round(result.simulatedMs),
    faults: result.faults.map((fault) => ({ ...fault, atMs: round(fault.atMs) })),
    failovers: result.gaps.map(({ role, from, to, startMs, endMs }) => ({
      role,
      from,
      to,
      atMs: round(startMs),
      gapMs: round(endMs - startMs),
    })),
    violations: result.violations.map(({ atMs, ...rest }) => ({ ...rest, atMs: round(atMs) })),
  };
}

/** @throws US_SIMULATE_KILL */
function parseKill(text: string, config: ClusterConfig): { host: string; atMs: number } {
  const [, host = '', number = '', unit = ''] =
    /^([^@]+)@(\d{1,9}(?:\.\d{1,9})?)(ms|s|m)$/.exec(text) ?? [];
  const refuse = (cause: string, remedy: string) =>
    new UnderstudyError({
      code: 'US_SIMULATE_KILL',
      action: 'cannot cut the power of',
      object: text,
      cause,
      remedy,
    });
  if (host === '') {
    throw refuse('it is not of the form HOST@TIME', 'write for example --kill h1@2s');
  }
  if (!config.hosts.some(({ name }) => name === host)) {
    const names = config.hosts.map(({ name }) => name).join(', ');
    throw refuse(`the file has no host ${host}`, `name one of ${names}`);
  }
  return { host, atMs: Number(number) * { ms: 1, s: 1_000, m: 60_000 }[unit as 'ms' | 's' | 'm'] };
}
