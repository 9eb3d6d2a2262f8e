import { messageOf } from '../errors.js';
import { type Condition, unmet } from './condition.js';
import type { Action, ExecExpectation, Scenario, Step } from './scenario.js';
import { withNames } from './scenario-names.js';
import { describe } from './scenario-text.js';
import type { Ran } from './shell.js';

/** What the steps of a scenario act on. */
export interface ScenarioWorld {
  /** Runs a command in a host, client or personality; killed after `withinMs`. */
  exec(node: string, argv: readonly string[], withinMs: number): Promise<Ran>;
  /** Does all of it at once. */
  act(actions: readonly Action[]): Promise<void>;
  /**
   * Resolves when `holds` is true of the cluster's status, looked at now and after each change of it;
   * with false when it was not within `withinMs`.
   */
  until(holds: (status: unknown) => boolean, withinMs: number): Promise<boolean>;
  /** What stands now at a place in the status; the node that is meant by `leader` or `etcd-leader`. */
  value(path: string): Promise<string>;
  /** Pings an address from a node every 2 ms, until the scenario ends. */
  ping(node: string, address: string): Promise<void>;
  /** Waits for an answer from now on; what was lost since the last time it was asked. */
  answers(address: string, withinMs: number): Promise<Pinged>;
  /** What a judge at the switch saw, from the first step on. */
  verdict(): JudgeResult;
}

export interface Pinged {
  readonly lost: number;
  readonly gapMs: number;
}

export interface JudgeResult {
  readonly ok: boolean;
  /** Frames with a vMAC that it judged. */
  readonly frames: number;
  /** What was wrong, a sentence each. */
  readonly faults: readonly string[];
}

export interface StepResult {
  readonly step: number;
  readonly what: string;
  readonly ok: boolean;
  /** Since the scenario began. */
  readonly startMs: number;
  readonly endMs: number;
  /** What was not as expected, or what was measured. */
  readonly detail: string;
}

export interface ScenarioResult {
  readonly ok: boolean;
  readonly scenario: string;
  readonly steps: readonly StepResult[];
  readonly judge: JudgeResult;
}

interface Done {
  /** What was not as expected; '' when all was. */
  readonly fault: string;
  /** What is worth telling also when it went well. */
  readonly told?: string;
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
  const names = new Map<string, string>();
  const beganMs = options.nowMs();
  const sinceMs = () => Math.round(options.nowMs() - beganMs);
  for (const [index, written] of scenario.steps.entries()) {
    options.signal.throwIfAborted();
    const startMs = sinceMs();
    const step = withNames(written, names);
    const { fault, told = '' } = await perform(step, world, names).catch((thrown: unknown) => ({
      fault: messageOf(thrown),
      told: '',
    }));
    const what = describe(step);
    const outcome = { ok: fault === '', startMs, endMs: sinceMs(), detail: fault || told };
    const result = { step: index + 1, what, ...outcome };
    steps.push(result);
    options.tell?.(result);
    if (!result.ok) break;
  }
  const judge = world.verdict();
  const ok = steps.every((step) => step.ok) && judge.ok;
  return { ok, scenario: scenario.name, steps, judge };
}

async function perform(
  step: Step,
  world: ScenarioWorld,
  names: Map<string, string>,
): Promise<Done> {
  switch (step.kind) {
    case 'exec':
      return { fault: judge(await world.exec(step.node, step.argv, step.withinMs), step.expect) };
    case 'wait':
      return { fault: await wait(step.conditions, step.withinMs, world) };
    case 'stays':
      return { fault: await stays(step.conditions, step.duringMs, world) };
    case 'note': {
      const value = await world.value(step.path);
      names.set(step.name, value);
      return { fault: '', told: `${step.name} is ${value}` };
    }
    case 'ping':
      await world.ping(step.node, step.address);
      return { fault: '' };
    case 'answers':
      return answers(step, await world.answers(step.address, step.withinMs));
    case 'together':
      await world.act(step.actions);
      return { fault: '' };
    default:
      await world.act([step]);
      return { fault: '' };
  }
}

async function wait(
  conditions: readonly Condition[],
  withinMs: number,
  world: ScenarioWorld,
): Promise<string> {
  let faults: readonly string[] = ['no status yet'];
  const held = await world.until((status) => {
    faults = faultsOf(conditions, status);
    return faults.length === 0;
  }, withinMs);
  return held ? '' : `after ${withinMs} ms: ${faults.join('; ')}`;
}

async function stays(
  conditions: readonly Condition[],
  duringMs: number,
  world: ScenarioWorld,
): Promise<string> {
  let faults: readonly string[] = [];
  await world.until((status) => {
    faults = faultsOf(conditions, status);
    return faults.length > 0;
  }, duringMs);
  return faults.join('; ');
}

function faultsOf(conditions: readonly Condition[], status: unknown): readonly string[] {
  return conditions.flatMap((condition) => unmet(status, condition) ?? []);
}

function answers(
  { mostLost, longestGapMs }: Extract<Step, { kind: 'answers' }>,
  { lost, gapMs }: Pinged,
): Done {
  const told = `${lost} lost, longest gap ${Math.round(gapMs)} ms`;
  const faults = [
    ...(mostLost !== undefined && lost > mostLost ? [`wanted at most ${mostLost} lost`] : []),
    ...(longestGapMs !== undefined && gapMs > longestGapMs
      ? [`wanted no gap over ${longestGapMs} ms`]
      : []),
  ];
  return faults.length === 0 ? { fault: '', told } : { fault: `${told}; ${faults.join('; ')}` };
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
