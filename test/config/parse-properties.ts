import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { parse, stringify } from 'yaml';
import { parseClusterFile } from '../../src/config/parse.js';

const root = new URL('../../../', import.meta.url);
const text = readFileSync(new URL('examples/two-racks.yaml', root), 'utf8');
const tree: unknown = parse(readFileSync(new URL('examples/lab.yaml', root), 'utf8'));

/** Either a configuration, or problems that each say where, what and what to write. Never a throw. */
function assertAnswer(input: string): void {
  const parsed = parseClusterFile(input);
  if (parsed.ok) {
    JSON.stringify(parsed.config);
    return;
  }
  if (parsed.problems.length === 0) throw new Error('refused without a reason');
  const lines = input.split('\n').length;
  for (const { line, column, what, write } of parsed.problems) {
    if (line < 1 || line > lines || column < 1)
      throw new Error(`line ${line} of ${lines}: ${what}`);
    if (what === '' || write === '') throw new Error(`says nothing: ${what}: ${write}`);
    if (/undefined|\[object|NaN/.test(what + write)) throw new Error(`nonsense: ${what}: ${write}`);
  }
}

/** The places of a tree: paths to every map, list and value. */
function placesOf(value: unknown, path: readonly (string | number)[] = []): (string | number)[][] {
  if (typeof value !== 'object' || value === null) return [[...path]];
  const below = Object.entries(value).flatMap(([key, inner]) =>
    placesOf(inner, [...path, Array.isArray(value) ? Number(key) : key]),
  );
  return [[...path], ...below];
}

function withValue(value: unknown, path: readonly (string | number)[], changed: unknown): unknown {
  const [key, ...rest] = path;
  if (key === undefined) return changed;
  if (Array.isArray(value)) {
    return value.map((inner, index) => (index === key ? withValue(inner, rest, changed) : inner));
  }
  const map = value as Readonly<Record<string, unknown>>;
  return { ...map, [key]: withValue(map[key], rest, changed) };
}

const odd = fc.oneof(
  fc.constantFrom(null, '', 0, -1, 1.5, 1e300, true, [], {}, 'h1', 'web1', 'blue', '10.10.0.11/24'),
  fc.constantFrom(
    '::',
    '::1/129',
    '0.0.0.0/0',
    '1-',
    '0-0',
    '99999999999GiB',
    '1e3ms',
    '__proto__',
  ),
  fc.constantFrom('fd00:10::11/64', '::ffff:10.0.0.1', 'fe80::1%eth0', 'constructor', '/srv/data'),
  fc.constantFrom({ ['__proto__']: 1 }, { constructor: 1 }, { toString: [] }, [[[]]], ['a', 'a']),
  fc.string(),
  fc.jsonValue(),
);

/** A valid file with any value put anywhere. */
export function anyValueAnywhere(numRuns: number): void {
  const places = fc.constantFrom(...placesOf(tree));
  fc.assert(
    fc.property(fc.array(fc.tuple(places, odd), { minLength: 1, maxLength: 3 }), (changes) => {
      let changed = tree;
      for (const [path, value] of changes) {
        try {
          changed = withValue(changed, path, value);
        } catch {
          // An earlier change took the place away.
        }
      }
      assertAnswer(stringify(changed));
    }),
    { numRuns },
  );
}

/** A valid file with any piece of text cut, doubled or put in. */
export function anyPieceOfText(numRuns: number): void {
  const at = fc.nat(text.length);
  const piece = fc.oneof(
    fc.string({ maxLength: 8 }),
    fc.constantFrom(
      '&a ',
      '*a',
      '<<: *a',
      '!!int ',
      '? ',
      '- ',
      '{',
      ']',
      '\t',
      '---\n',
      '|',
      '"',
      '\0',
    ),
  );
  fc.assert(
    fc.property(at, fc.nat(40), piece, (from, length, inserted) => {
      assertAnswer(text.slice(0, from) + inserted + text.slice(from + length));
    }),
    { numRuns },
  );
}

/** What is no cluster file at all. */
export function noClusterFile(numRuns: number): void {
  fc.assert(
    fc.property(fc.oneof(fc.string(), fc.json()), (input) => assertAnswer(input)),
    { numRuns },
  );
}
