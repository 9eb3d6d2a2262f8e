import type { z } from 'zod';
import { type Fault, oneOf, type Path } from './faults.js';
import { pathText } from './locate.js';
import { clusterFileSchema } from './schema.js';

type Issue = z.core.$ZodIssue;

/** What the schema found, in words: what stands there, and what to write instead. */
export function faultsOf(issue: Issue, file: unknown): readonly Fault[] {
  const path = issue.path.filter((part) => typeof part !== 'symbol');
  if (issue.code === 'unrecognized_keys') {
    return issue.keys.map((key) => ({
      path: [...path, key],
      what: `unknown key ${shorten(key)}`,
      write: oneOf(key, keysOf(schemaAt(path))),
    }));
  }
  const value = valueAt(file, path);
  const name = nameOf(path);
  const write = adviceOf(issue, path);
  if (path.length === 0) return [{ path, what: `the file is ${shown(value)}`, write }];
  if (value === undefined) return [{ path, what: `${name} is missing`, write: `add it: ${write}` }];
  return [{ path, what: `${name} cannot be ${shown(value)}`, write }];
}

/** The schema's own words where it has any: they begin with what to do. */
function adviceOf(issue: Issue, path: Path): string {
  if (issue.message.startsWith('write ')) return issue.message;
  switch (issue.code) {
    case 'invalid_type':
      if (path.length === 0) return 'write a map: cluster, controllers, hosts, networks, …';
      return `write ${kinds[issue.expected] ?? issue.expected}`;
    case 'invalid_value':
      return `write ${issue.values
        .map(String)
        .join(', ')
        .replace(/, ([^,]*)$/, ' or $1')}`;
    case 'too_small':
      return `write ${issue.minimum} or more${unitOf(issue.origin)}`;
    case 'too_big':
      return `write at most ${issue.maximum}${unitOf(issue.origin)}`;
    default:
      return 'see docs/reference/cluster-file.md';
  }
}

const kinds: Readonly<Record<string, string>> = {
  array: 'a list',
  object: 'a map of keys',
  string: 'text',
  int: 'a whole number',
  number: 'a number',
  boolean: 'true or false',
};

function unitOf(origin: string): string {
  return origin === 'array' ? ' of them' : origin === 'string' ? ' characters' : '';
}

/** `lease`, `controllers[2]` */
function nameOf(path: Path): string {
  const from = path.findLastIndex((part) => typeof part === 'string');
  return pathText(path.slice(Math.max(0, from)));
}

const longestShown = 60;

function shorten(text: string): string {
  return text.length <= longestShown ? text : `${text.slice(0, longestShown)}…`;
}

/** A value in the words of the file. */
function shown(value: unknown): string {
  if (value === null || value === undefined) return 'empty';
  if (Array.isArray(value)) return value.length === 0 ? 'an empty list' : 'a list';
  if (typeof value === 'object') return shorten(`{${Object.keys(value).join(', ')}}`);
  return value === '' ? 'empty' : shorten(String(value));
}

function valueAt(file: unknown, path: Path): unknown {
  return path.reduce<unknown>((value, part) => {
    if (typeof value !== 'object' || value === null || !Object.hasOwn(value, part))
      return undefined;
    return (value as Readonly<Record<string | number, unknown>>)[part];
  }, file);
}

/** As much of a zod schema as it takes to find the keys of a place in the file. */
interface AnySchema {
  readonly def?: {
    readonly innerType?: unknown;
    readonly in?: unknown;
    readonly element?: unknown;
    readonly shape?: Readonly<Record<string, unknown>>;
    readonly options?: readonly unknown[];
  };
}

function schemaAt(path: Path): unknown {
  let schema: unknown = clusterFileSchema;
  for (const part of path) {
    const { def } = unwrap(schema);
    schema = typeof part === 'number' ? def?.element : def?.shape?.[part];
  }
  return schema;
}

function unwrap(schema: unknown): AnySchema {
  const { def } = (schema ?? {}) as AnySchema;
  if (def?.innerType !== undefined) return unwrap(def.innerType);
  if (def?.in !== undefined) return unwrap(def.in);
  return (schema ?? {}) as AnySchema;
}

function keysOf(schema: unknown): readonly string[] {
  const { def } = unwrap(schema);
  if (def?.shape !== undefined) return Object.keys(def.shape);
  return (def?.options ?? []).flatMap(keysOf);
}
