import { messageOf } from '../errors.js';
import { unmet } from './condition.js';
import { describe, type ExecExpectation, type Scenario, type Step } from './scenario.js';
import type { Ran } from './shell.js';

/** What the steps of a scenario act on. */
export interface ScenarioWorld {
  /** Runs a command in a host, client or personality; killed after `withinMs`. */
  exec(node: string, argv: readonly string[], withinMs: number): Promise<Ran>;
  act(step: Exclude<Step, { kind: 'exec' | 'wait' }>): Promise<void>;
  /**
   * Resolves when `holds` is true of the cluster's status, looked at now and after each change of it;
   * with false when it was not within `withinMs`.
   */
  until(holds: (status: unknown) => boolean, withinMs: number): Promise<boolean>;
}

export interface StepResult {
  readonly step: number;
  readonly what: string;
  readonly ok: boolean;
  /** Since the scenario began. */
  readonly startMs: number;
  readonly endMs: number;
  /** What was not as expected; '' when all was. */
  readonly detail: string;
}

export interface ScenarioResult {
  readonly ok: boolean;
  readonly scenario: string;
  readonly steps: readonly StepResult[];
}

/** Runs steps in order and stops at the first that fails: what follows would judge another story. */
export async function runScenario(
  scenario: Scenario,
  world: ScenarioWorld,
  options: {
    readonly nowMs: () => number;
    readonly signal: AbortSignal;
    readonly tell?: (result: StepResult) => void;
  },
): Promise<ScenarioResult> {
  const steps: StepResult[] = [];
  const beganMs = options.nowMs();
  const sinceMs = () => Math.round(options.nowMs() - beganMs);
  for (const [index, step] of scenario.steps.entries()) {
    options.signal.throwIfAborted();
    const startMs = sinceMs();
    const detail = await perform(step, world).catch(messageOf);
    const what = describe(step);
    const result = { step: index + 1, what, ok: detail === '', startMs, endMs: sinceMs(), detail };
    steps.push(result);
    options.tell?.(result);
    if (!result.ok) break;
  }
  return { ok: steps.every(({ ok }) => ok), scenario: scenario.name, steps };
}

/** '' or what was not as expected. */
async function perform(step: Step, world: ScenarioWorld): Promise<string> {
  if (step.kind === 'exec') {
    return judge(await world.exec(step.node, step.argv, step.withinMs), step.expect);
  }
  if (step.kind === 'wait') {
    let faults: readonly string[] = ['no status yet'];
    const held = await world.until((status) => {
      faults = step.conditions.flatMap((condition) => unmet(status, condition) ?? []);
      return faults.length === 0;
    }, step.withinMs);
    return held ? '' : `after ${step.withinMs} ms: ${faults.join('; ')}`;
  }
  await world.act(step);
  return '';
}

const quotedLength = 400;

function judge(ran: Ran, expect: ExecExpectation): string {
  const faults: string[] = [];
  if (expect.code !== null && ran.code !== expect.code) {
    faults.push(`exit code ${ran.code}, wanted ${expect.code}`);
  }
  for (const stream of ['stdout', 'stderr'] as const) {
    const pattern = expect[stream];
    if (pattern !== undefined && !pattern.test(ran[stream])) {
      faults.push(`${stream} does not match /${pattern.source}/`);
    }
  }
  if (faults.length === 0) return '';
  const said = `${ran.stdout}${ran.stderr}`.trim().slice(-quotedLength);
  return said === '' ? faults.join('; ') : `${faults.join('; ')}; it said: ${said}`;
}
