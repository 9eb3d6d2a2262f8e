import { isMap, isScalar, isSeq, LineCounter, type Node, parseDocument } from 'yaml';
import type { z } from 'zod';
import { checkClusterFile } from './checks.js';
import { nearest } from './nearest.js';
import { normalise, normaliseLab } from './normalise.js';
import { clusterFileSchema } from './schema.js';
import type { ClusterConfig, LabConfig } from './types.js';

/** One thing that is wrong in a cluster file. */
export interface Problem {
  /** Where, as a path: `networks[0].id`. */
  readonly path: string;
  /** Counted from 1. */
  readonly line: number;
  readonly column: number;
  readonly what: string;
  /** What to write instead. */
  readonly write: string;
}

export type Parsed =
  | { readonly ok: true; readonly config: ClusterConfig; readonly lab?: LabConfig }
  | { readonly ok: false; readonly problems: readonly Problem[] };

/** A fault found at a path of the file, before its line is known. */
export interface Fault {
  readonly path: readonly (string | number)[];
  readonly what: string;
  readonly write: string;
}

const largestFileBytes = 1024 * 1024;
const mostAliases = 100;

/** Reads a cluster file: all of its problems at once, or the configuration with every default. */
export function parseClusterFile(text: string, _path = ''): Parsed {
  if (Buffer.byteLength(text) > largestFileBytes) {
    return refuse('', 1, 1, 'the file is larger than 1 MiB', 'split the cluster');
  }
  const lines = new LineCounter();
  const document = parseDocument(text, { lineCounter: lines, uniqueKeys: true });
  if (document.errors.length > 0) {
    const problems = document.errors.map((error) => {
      const at = lines.linePos(error.pos[0]);
      const [what = 'not YAML'] = error.message.split('\n');
      return { path: '', line: at.line, column: at.col, what, write: 'correct the YAML' };
    });
    return { ok: false, problems };
  }
  let value: unknown;
  try {
    value = document.toJS({ maxAliasCount: mostAliases });
  } catch {
    return refuse('', 1, 1, 'too many aliases', 'write the values out');
  }
  const locate = (fault: Fault) => toProblem(fault, document.contents, lines);
  const parsed = clusterFileSchema.safeParse(value);
  if (!parsed.success) {
    return { ok: false, problems: parsed.error.issues.flatMap(faultsOf).map(locate).sort(byLine) };
  }
  const faults = checkClusterFile(parsed.data);
  if (faults.length > 0) return { ok: false, problems: faults.map(locate).sort(byLine) };
  const config = normalise(parsed.data);
  return parsed.data.lab === undefined
    ? { ok: true, config }
    : { ok: true, config, lab: normaliseLab(parsed.data.lab) };
}

function refuse(path: string, line: number, column: number, what: string, write: string): Parsed {
  return { ok: false, problems: [{ path, line, column, what, write }] };
}

type Issue = z.core.$ZodIssue;

function faultsOf(issue: Issue): readonly Fault[] {
  const path = issue.path.filter((part) => typeof part !== 'symbol');
  switch (issue.code) {
    case 'unrecognized_keys':
      return issue.keys.map((key) => ({
        path: [...path, key],
        what: `unknown key ${key}`,
        write: suggestion(key, path),
      }));
    case 'invalid_type':
      return [
        issue.input === undefined && issue.message.includes('undefined')
          ? {
              path,
              what: `${String(path.at(-1) ?? 'the file')} is missing`,
              write: `add it: ${kind(issue.expected)}`,
            }
          : {
              path,
              what: `this must be ${kind(issue.expected)}`,
              write: told(issue.message, kind(issue.expected)),
            },
      ];
    case 'invalid_value':
      return [
        {
          path,
          what: 'not one of the allowed values',
          write: `write ${issue.values
            .map(String)
            .join(', ')
            .replace(/, ([^,]*)$/, ' or $1')}`,
        },
      ];
    case 'too_small':
      return [
        {
          path,
          what: 'too small or too few',
          write: told(issue.message, `at least ${issue.minimum}`),
        },
      ];
    case 'too_big':
      return [
        {
          path,
          what: 'too large or too many',
          write: told(issue.message, `at most ${issue.maximum}`),
        },
      ];
    default:
      return [
        { path, what: 'not of the right form', write: told(issue.message, 'see docs/reference') },
      ];
  }
}

/** The schema's own words, where it has any: they begin with what to do. */
function told(message: string, otherwise: string): string {
  return message.startsWith('write ') ? message : `write ${otherwise}`;
}

const kinds: Readonly<Record<string, string>> = {
  array: 'a list',
  object: 'a map of keys',
  string: 'text',
  int: 'a whole number',
  number: 'a number',
  boolean: 'true or false',
};

function kind(expected: string): string {
  return kinds[expected] ?? expected;
}

/** Known keys of a place in the file, for a suggestion. */
function suggestion(key: string, path: readonly (string | number)[]): string {
  let schema: unknown = clusterFileSchema;
  for (const part of path) schema = below(schema, part);
  const known = keysOf(schema);
  const close = nearest(key, known);
  return close === undefined ? `known keys: ${known.join(', ')}` : `write ${close}`;
}

interface AnySchema {
  readonly def?: {
    readonly type?: string;
    readonly innerType?: unknown;
    readonly in?: unknown;
    readonly element?: unknown;
    readonly shape?: Readonly<Record<string, unknown>>;
    readonly options?: readonly unknown[];
  };
}

function unwrap(schema: unknown): AnySchema {
  const { def } = schema as AnySchema;
  if (def?.innerType !== undefined) return unwrap(def.innerType);
  if (def?.in !== undefined) return unwrap(def.in);
  return schema as AnySchema;
}

function below(schema: unknown, part: string | number): unknown {
  const { def } = unwrap(schema);
  return typeof part === 'number' ? def?.element : def?.shape?.[part];
}

function keysOf(schema: unknown): readonly string[] {
  const { def } = unwrap(schema);
  if (def?.shape !== undefined) return Object.keys(def.shape);
  return (def?.options ?? []).flatMap(keysOf);
}

function toProblem(fault: Fault, root: unknown, lines: LineCounter): Problem {
  const offset = offsetOf(root as Node | null, fault.path);
  const at = lines.linePos(offset);
  return {
    path: fault.path.reduce<string>(
      (text, part) =>
        typeof part === 'number' ? `${text}[${part}]` : text === '' ? part : `${text}.${part}`,
      '',
    ),
    line: at.line,
    column: at.col,
    what: fault.what,
    write: fault.write,
  };
}

/** Where the deepest part of the path begins that is there. */
function offsetOf(root: Node | null, path: readonly (string | number)[]): number {
  let node: unknown = root;
  let offset = root?.range?.[0] ?? 0;
  for (const part of path) {
    if (isMap(node)) {
      const pair = node.items.find(({ key }) => (isScalar(key) ? key.value : key) === part);
      if (pair === undefined) break;
      offset = (pair.key as Node | null)?.range?.[0] ?? offset;
      node = pair.value;
    } else if (isSeq(node) && typeof part === 'number') {
      node = node.items[part];
      if (node === undefined) break;
      offset = (node as Node | null)?.range?.[0] ?? offset;
    } else break;
  }
  return offset;
}

function byLine(a: Problem, b: Problem): number {
  return a.line - b.line || a.column - b.column;
}
