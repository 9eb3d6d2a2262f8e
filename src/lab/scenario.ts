import { parse } from 'yaml';
import { z } from 'zod';
import { messageOf, UnderstudyError } from '../errors.js';
import type { Condition } from './condition.js';
import type { Direction } from './cuts.js';
import type { DaemonSignal } from './daemon-signals.js';
import type { Network } from './machine.js';
import { stepNames, stepOf } from './scenario-steps.js';

/** A scenario after parsing: what `lab run` does, in order. */
export interface Scenario {
  readonly name: string;
  /** Cluster file of the lab to build for it and take down afterwards; undefined: the running lab. */
  readonly lab: string | undefined;
  readonly steps: readonly Step[];
}

export type Cut = Network | 'all';

/** What is done to a lab. Nodes may be `leader`, `etcd-leader` or a `$name` that was noted before. */
export type Action =
  | {
      readonly kind: 'kill' | 'start' | 'pause' | 'resume' | 'heal';
      /** Several: all at once. */
      readonly nodes: readonly string[];
    }
  | {
      readonly kind: 'partition';
      readonly node: string;
      readonly cut: Cut;
      readonly direction: Direction;
    }
  | {
      readonly kind: 'signal';
      readonly node: string;
      readonly process: string;
      readonly signal: DaemonSignal;
    }
  | {
      readonly kind: 'restart';
      readonly node: string;
      readonly process: string;
      /** Another build to run from now on; undefined: the same. */
      readonly argv: readonly string[] | undefined;
    }
  /** Forgets the history of the store, up to now. */
  | { readonly kind: 'compact' }
  /** So many processes that only burn CPU; 0 ends them. */
  | { readonly kind: 'load'; readonly processes: number };

export type Step =
  | Action
  | {
      readonly kind: 'exec';
      readonly node: string;
      readonly argv: readonly string[];
      readonly expect: ExecExpectation;
      readonly withinMs: number;
    }
  | { readonly kind: 'wait'; readonly conditions: readonly Condition[]; readonly withinMs: number }
  | { readonly kind: 'stays'; readonly conditions: readonly Condition[]; readonly duringMs: number }
  | { readonly kind: 'note'; readonly name: string; readonly path: string }
  | { readonly kind: 'ping'; readonly node: string; readonly address: string }
  | {
      readonly kind: 'answers';
      readonly address: string;
      readonly mostLost: number | undefined;
      readonly longestGapMs: number | undefined;
      readonly withinMs: number;
    }
  | { readonly kind: 'together'; readonly actions: readonly Action[] };

export interface ExecExpectation {
  /** Exit code; null: any. */
  readonly code: number | null;
  /** Regular expressions that the output must match. */
  readonly stdout: RegExp | undefined;
  readonly stderr: RegExp | undefined;
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
      remedy: `a step is one of: ${stepNames.join(', ')}; see docs/reference/lab.md`,
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
      const found = stepOf(one);
      if ('step' in found) return found.step;
      const { fault } = found;
      throw refuse(`step ${index + 1}${typeof fault === 'string' ? fault : `: ${faults(fault)}`}`);
    }),
  };
}

function faults(error: z.ZodError): string {
  return error.issues.map(({ path, message }) => `${path.join('.')}: ${message}`).join('; ');
}
