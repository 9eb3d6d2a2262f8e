import { parse } from 'yaml';
import { z } from 'zod';
import { messageOf, UnderstudyError } from '../errors.js';
import type { Condition, Expected, Scalar } from './condition.js';

/** A scenario after parsing: what `lab run` does, in order. */
export interface Scenario {
  readonly name: string;
  /** Cluster file of the lab to build for it and take down afterwards; undefined: the running lab. */
  readonly lab: string | undefined;
  readonly steps: readonly Step[];
}

export type Cut = 'internal' | 'storage' | 'all';

export type Step =
  | {
      readonly kind: 'exec';
      readonly node: string;
      readonly argv: readonly string[];
      readonly expect: ExecExpectation;
      readonly withinMs: number;
    }
  | { readonly kind: 'kill' | 'start' | 'pause' | 'resume' | 'heal'; readonly host: string }
  | { readonly kind: 'partition'; readonly host: string; readonly cut: Cut }
  | { readonly kind: 'wait'; readonly conditions: readonly Condition[]; readonly withinMs: number };

export interface ExecExpectation {
  /** Exit code; null: any. */
  readonly code: number | null;
  /** Regular expressions that the output must match. */
  readonly stdout: RegExp | undefined;
  readonly stderr: RegExp | undefined;
}

const defaultExecMs = 10_000;
const defaultWaitMs = 15_000;
const longestMs = 600_000;

const duration = z
  .string()
  .regex(/^\d+(ms|s|m)$/, 'write a duration with its unit: 500ms, 10s, 2m')
  .transform((text) => {
    const number = Number.parseInt(text, 10);
    return number * (text.endsWith('ms') ? 1 : text.endsWith('s') ? 1_000 : 60_000);
  })
  .refine((ms) => ms <= longestMs, 'write at most 10m');

const pattern = z.string().transform((text, context) => {
  try {
    return new RegExp(text, 'm');
  } catch (thrown) {
    context.addIssue({ code: 'custom', message: messageOf(thrown) });
    return z.NEVER;
  }
});

const scalar = z.union([z.string(), z.number(), z.boolean(), z.null()]);

const exec = z
  .strictObject({
    node: z.string().min(1),
    command: z.array(z.coerce.string()).min(1),
    expect: z
      .strictObject({
        code: z.union([z.number().int(), z.literal('any')]).default(0),
        stdout: pattern.optional(),
        stderr: pattern.optional(),
      })
      .prefault({}),
    within: duration.default(defaultExecMs),
  })
  .transform(
    ({ node, command, expect, within }): Step => ({
      kind: 'exec',
      node,
      argv: command,
      expect: {
        code: expect.code === 'any' ? null : expect.code,
        stdout: expect.stdout,
        stderr: expect.stderr,
      },
      withinMs: within,
    }),
  );

const expected = z.union([
  scalar.transform((value): Expected => ({ kind: 'is', value })),
  z.strictObject({ not: scalar }).transform(({ not }): Expected => ({ kind: 'not', value: not })),
  z
    .strictObject({ atLeast: z.number() })
    .transform(({ atLeast }): Expected => ({ kind: 'at-least', value: atLeast })),
]);

const wait = z
  .strictObject({
    for: z.record(z.string().min(1), expected),
    within: duration.default(defaultWaitMs),
  })
  .refine(({ for: wanted }) => Object.keys(wanted).length > 0, 'write at least one condition')
  .transform(
    ({ for: wanted, within }): Step => ({
      kind: 'wait',
      conditions: Object.entries(wanted).map(([path, value]) => ({ path, expected: value })),
      withinMs: within,
    }),
  );

const partition = z
  .union([
    z.string().transform((host) => ({ host, cut: 'internal' as const })),
    z.strictObject({
      host: z.string(),
      cut: z.enum(['internal', 'storage', 'all']).default('internal'),
    }),
  ])
  .transform(({ host, cut }): Step => ({ kind: 'partition', host, cut }));

function onHost(kind: 'kill' | 'start' | 'pause' | 'resume' | 'heal') {
  return z
    .strictObject({ [kind]: z.string().min(1) })
    .transform((step): Step => ({ kind, host: step[kind] ?? '' }));
}

/** Steps are told apart by their one key, so that a fault inside one is told as its own. */
const schema = z.strictObject({
  scenario: z.string().min(1),
  lab: z.string().min(1).optional(),
  steps: z.array(z.looseObject({})).min(1).max(1_000),
});

/** @throws {UnderstudyError} US_LAB_SCENARIO with the first fault and the step it is in */
export function parseScenario(text: string, path: string): Scenario {
  const refuse = (cause: string) =>
    new UnderstudyError({
      code: 'US_LAB_SCENARIO',
      action: 'cannot read scenario',
      object: path,
      cause,
      remedy: `a step is one of: ${stepNames.join(', ')}; see docs/reference/cli.md`,
    });
  let value: unknown;
  try {
    value = parse(text);
  } catch (thrown) {
    throw refuse(messageOf(thrown));
  }
  const parsed = schema.safeParse(value);
  if (!parsed.success) throw refuse(faults(parsed.error));
  const { scenario, lab, steps } = parsed.data;
  return {
    name: scenario,
    lab,
    steps: steps.map((one, index) => {
      const keys = Object.keys(one);
      const number = index + 1;
      if (keys.length !== 1) throw refuse(`step ${number} has ${keys.length} keys; it needs one`);
      const found = stepSchemas[keys[0] ?? ''];
      if (found === undefined) throw refuse(`step ${number}: there is no step called ${keys[0]}`);
      const result = found.safeParse(one);
      if (!result.success) throw refuse(`step ${number}: ${faults(result.error)}`);
      return result.data;
    }),
  };
}

const stepSchemas: Readonly<Record<string, z.ZodType<Step>>> = {
  exec: z.strictObject({ exec }).transform((one) => one.exec),
  wait: z.strictObject({ wait }).transform((one) => one.wait),
  partition: z.strictObject({ partition }).transform((one) => one.partition),
  kill: onHost('kill'),
  start: onHost('start'),
  pause: onHost('pause'),
  resume: onHost('resume'),
  heal: onHost('heal'),
};
const stepNames = Object.keys(stepSchemas);

function faults(error: z.ZodError): string {
  return error.issues.map(({ path, message }) => `${path.join('.')}: ${message}`).join('; ');
}

/** A step in words, for the result. */
export function describe(step: Step): string {
  switch (step.kind) {
    case 'exec':
      return `exec ${step.node}: ${step.argv.join(' ')}`;
    case 'wait':
      return `wait for ${step.conditions.map(conditionText).join(', ')}`;
    case 'partition':
      return `partition ${step.host} (${step.cut})`;
    default:
      return `${step.kind} ${step.host}`;
  }
}

function conditionText({ path, expected: { kind, value } }: Condition): string {
  const text: Scalar = value;
  return `${path} ${kind === 'is' ? '=' : kind === 'not' ? '≠' : '≥'} ${text}`;
}
