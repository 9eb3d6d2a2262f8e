import { z } from 'zod';
import { messageOf } from '../errors.js';
import type { Condition, Expected } from './condition.js';
import { daemonSignals } from './daemon-signals.js';
import type { Action, Step } from './scenario.js';

/** How each step of a scenario is written. */

const defaultExecMs = 10_000;
const defaultWaitMs = 15_000;
const defaultAnswerMs = 10_000;
const longestMs = 900_000;
const mostLoad = 1_000;

const duration = z
  .string()
  .regex(/^\d+(ms|s|m)$/, 'write a duration with its unit: 500ms, 10s, 2m')
  .transform((text) => {
    const number = Number.parseInt(text, 10);
    return number * (text.endsWith('ms') ? 1 : text.endsWith('s') ? 1_000 : 60_000);
  })
  .refine((ms) => ms <= longestMs, 'write at most 15m');

const pattern = z.string().transform((text, context) => {
  try {
    return new RegExp(text, 'm');
  } catch (thrown) {
    context.addIssue({ code: 'custom', message: messageOf(thrown) });
    return z.NEVER;
  }
});

const scalar = z.union([z.string(), z.number(), z.boolean(), z.null()]);
const node = z.string().min(1);
const words = z.array(z.coerce.string()).min(1);

const exec = z
  .strictObject({
    node,
    command: words,
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
  z
    .strictObject({ matches: pattern })
    .transform(({ matches }): Expected => ({ kind: 'matches', value: matches })),
]);

const conditions = z
  .record(z.string().min(1), expected)
  .refine((wanted) => Object.keys(wanted).length > 0, 'write at least one condition')
  .transform((wanted): readonly Condition[] =>
    Object.entries(wanted).map(([path, value]) => ({ path, expected: value })),
  );

const wait = z
  .strictObject({ for: conditions, within: duration.default(defaultWaitMs) })
  .transform(
    ({ for: wanted, within }): Step => ({ kind: 'wait', conditions: wanted, withinMs: within }),
  );

const stays = z
  .strictObject({ for: conditions, during: duration })
  .transform(
    ({ for: wanted, during }): Step => ({ kind: 'stays', conditions: wanted, duringMs: during }),
  );

const note = z
  .record(z.string().regex(/^[A-Za-z][A-Za-z0-9]*$/, 'write a name of letters and digits'), node)
  .refine((names) => Object.keys(names).length === 1, 'write one name and what it stands for')
  .transform((names): Step => {
    const [name = '', path = ''] = Object.entries(names)[0] ?? [];
    return { kind: 'note', name, path };
  });

const ping = z
  .strictObject({ node, address: z.string().min(1) })
  .transform((one): Step => ({ kind: 'ping', ...one }));

const answers = z
  .strictObject({
    address: z.string().min(1),
    lost: z.number().int().min(0).optional(),
    gap: duration.optional(),
    within: duration.default(defaultAnswerMs),
  })
  .transform(
    ({ address, lost, gap, within }): Step => ({
      kind: 'answers',
      address,
      mostLost: lost,
      longestGapMs: gap,
      withinMs: within,
    }),
  );

const partition = z
  .union([
    node.transform((name) => ({
      host: name,
      cut: 'internal' as const,
      direction: 'both' as const,
    })),
    z.strictObject({
      host: node,
      cut: z.enum(['internal', 'storage', 'all']).default('internal'),
      direction: z.enum(['both', 'in', 'out']).default('both'),
    }),
  ])
  .transform(
    ({ host, cut, direction }): Action => ({
      kind: 'partition',
      node: host,
      cut,
      direction,
    }),
  );

const signal = z
  .strictObject({ node, process: z.string().min(1), signal: z.enum(daemonSignals) })
  .transform((one): Action => ({ kind: 'signal', ...one }));

const restart = z
  .strictObject({ node, process: z.string().min(1), command: words.optional() })
  .transform(
    ({ node, process, command }): Action => ({
      kind: 'restart',
      node,
      process,
      argv: command,
    }),
  );

const compact = z.literal('etcd').transform((): Action => ({ kind: 'compact' }));
const load = z
  .number()
  .int()
  .min(0)
  .max(mostLoad)
  .transform((processes): Action => ({ kind: 'load', processes }));

function onNodes(kind: 'kill' | 'start' | 'pause' | 'resume' | 'heal') {
  return z
    .union([node.transform((one) => [one]), z.array(node).min(1)])
    .transform((nodes): Action => ({ kind, nodes }));
}

const actions: Readonly<Record<string, z.ZodType<Action>>> = {
  kill: onNodes('kill'),
  start: onNodes('start'),
  pause: onNodes('pause'),
  resume: onNodes('resume'),
  heal: onNodes('heal'),
  partition,
  signal,
  restart,
  compact,
  load,
};

const together = z.array(z.looseObject({})).min(1);
const others: Readonly<Record<string, z.ZodType<Step>>> = {
  exec,
  wait,
  stays,
  note,
  ping,
  answers,
};

export const stepNames = [...Object.keys(others), ...Object.keys(actions), 'together'];

type Found = { readonly step: Step } | { readonly fault: string | z.ZodError };

/** A step of its one key, or what is wrong with it. */
export function stepOf(one: Readonly<Record<string, unknown>>): Found {
  const [name = '', ...more] = Object.keys(one);
  if (name === '' || more.length > 0) {
    return { fault: ` has ${Object.keys(one).length} keys; it needs one` };
  }
  if (name === 'together') return togetherOf(one.together);
  const schema = others[name] ?? actions[name];
  if (schema === undefined) return { fault: `: there is no step called ${name}` };
  return read(z.strictObject({ [name]: schema }), one, name);
}

function read(
  schema: z.ZodType<Readonly<Record<string, Step>>>,
  one: unknown,
  name: string,
): Found {
  const result = schema.safeParse(one);
  if (!result.success) return { fault: result.error };
  const step = result.data[name];
  return step === undefined ? { fault: `: nothing is written for ${name}` } : { step };
}

function togetherOf(value: unknown): Found {
  const list = together.safeParse(value);
  if (!list.success) return { fault: list.error };
  const found: Action[] = [];
  for (const one of list.data) {
    const [name = '', ...more] = Object.keys(one);
    const schema = actions[name];
    if (schema === undefined || more.length > 0) {
      return { fault: `: together takes ${Object.keys(actions).join(', ')}, one key each` };
    }
    const result = schema.safeParse(one[name]);
    if (!result.success) return { fault: result.error };
    found.push(result.data);
  }
  return { step: { kind: 'together', actions: found } };
}
