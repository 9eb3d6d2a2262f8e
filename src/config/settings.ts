import { readFileSync } from 'node:fs';
import { type Document, LineCounter, parseDocument } from 'yaml';
import type { z } from 'zod';
import { messageOf, UnderstudyError } from '../errors.js';
import { locate } from './locate.js';

/**
 * Reads a daemon's own file (YAML or JSON): every wrong key at once, each with its path and line.
 *
 * @throws {UnderstudyError} with the given code
 */
export function readSettings<T extends z.ZodType>(
  path: string,
  schema: T,
  code: `US_${string}`,
  where = 'docs/reference/daemons.md lists its keys',
): z.infer<T> {
  const refuse = (cause: string, thrown?: unknown) =>
    new UnderstudyError(
      {
        code,
        action: 'cannot read configuration',
        object: path,
        cause,
        remedy: `correct it; ${where}`,
      },
      { cause: thrown },
    );
  const lines = new LineCounter();
  let document: Document;
  let value: unknown;
  try {
    document = parseDocument(readFileSync(path, 'utf8'), { lineCounter: lines, logLevel: 'error' });
    const [fault] = document.errors;
    if (fault !== undefined) throw fault;
    value = document.toJS();
  } catch (thrown) {
    throw refuse(messageOf(thrown), thrown);
  }
  const read = schema.safeParse(value);
  if (read.success) return read.data;
  throw refuse(read.error.issues.map((issue) => told(issue, document, lines)).join('; '));
}

/** `line 3: store.endpoints: Too small` */
function told(issue: z.core.$ZodIssue, document: Document, lines: LineCounter): string {
  const inner = issue.path.filter((part) => typeof part !== 'symbol');
  // A key that is not known is where it stands, not where it is missing from.
  const path = issue.code === 'unrecognized_keys' ? [...inner, issue.keys[0] ?? ''] : inner;
  const at = locate({ path, what: issue.message, write: '' }, document, lines);
  return `line ${at.line}: ${at.path === '' ? '' : `${at.path}: `}${at.what}`;
}
