import { type Document, Lexer, LineCounter, Parser, parseDocument, type YAMLError } from 'yaml';
import { checkClusterFile } from './checks.js';
import { faultsOf } from './explain.js';
import type { Fault } from './faults.js';
import { locate, type Problem } from './locate.js';
import { normalise, normaliseLab } from './normalise.js';
import { type ClusterFile, clusterFileSchema } from './schema.js';
import type { ClusterConfig, LabConfig } from './types.js';
import { warningsOf } from './warnings.js';

export type { Fault } from './faults.js';
export type { Problem } from './locate.js';

export type Parsed =
  | {
      readonly ok: true;
      readonly config: ClusterConfig;
      readonly lab?: LabConfig;
      /** What is allowed and yet probably not meant. */
      readonly warnings: readonly Problem[];
    }
  | { readonly ok: false; readonly problems: readonly Problem[] };

const largestFileBytes = 1024 * 1024;
const mostAliases = 100;
const mostProblems = 100;
/** A cluster file has 6 levels; the YAML library's syntax tree has about 2 for each. */
const deepestTree = 60;

/**
 * Reads a cluster file: all of its problems at once (at most 100), or the configuration with every
 * default. Never throws.
 *
 * @param path of the file, for the reader of the code alone: problems are about lines of `text`
 */
export function parseClusterFile(text: string, _path = ''): Parsed {
  if (Buffer.byteLength(text) > largestFileBytes) {
    return refuse('the file is larger than 1 MiB', 'write a cluster each for parts of it');
  }
  const lines = new LineCounter();
  if (isTooDeep(text)) {
    return refuse('the file is nested too deeply', 'write it as in docs/reference/cluster-file.md');
  }
  try {
    // 'error': what the library would print about odd keys is a problem of ours or none.
    const document = parseDocument(text, { lineCounter: lines, logLevel: 'error' });
    const faulty = [...document.errors, ...document.warnings];
    if (faulty.length > 0) return failed(faulty.map((error) => yamlProblem(error, lines)));
    const value: unknown = document.toJS({ maxAliasCount: mostAliases });
    return read(value, document, lines);
  } catch (thrown) {
    // A ReferenceError is how the library tells about aliases; by then it has no position.
    if (!(thrown instanceof ReferenceError)) throw thrown;
    return thrown.message.startsWith('Excessive alias')
      ? refuse('aliases multiply to more than a cluster file can hold', 'write the values out')
      : refuse(thrown.message, 'define the anchor (&name) above its alias (*name)');
  }
}

/**
 * Whether the file nests deeper than the library, which works it off by recursion, can stand: 3,000
 * brackets end the whole process (V8: "RegExpCompiler Allocation failed"), which no `catch` catches.
 * Its parser keeps a stack of its own, so it can be asked first.
 */
function isTooDeep(text: string): boolean {
  const parser = new Parser();
  for (const lexeme of new Lexer().lex(text)) {
    for (const _token of parser.next(lexeme)) {
      // Taken only so that the parser goes on.
    }
    if (parser.stack.length > deepestTree) return true;
  }
  return false;
}

function read(value: unknown, document: Document, lines: LineCounter): Parsed {
  const at = (fault: Fault) => locate(fault, document, lines);
  const shape = clusterFileSchema.safeParse(value);
  if (!shape.success) {
    return failed(shape.error.issues.flatMap((issue) => faultsOf(issue, value)).map(at));
  }
  const file: ClusterFile = shape.data;
  const faults = checkClusterFile(file);
  if (faults.length > 0) return failed(faults.map(at));
  return {
    ok: true,
    config: normalise(file),
    ...(file.lab === undefined ? {} : { lab: normaliseLab(file.lab) }),
    warnings: warningsOf(file).map(at).sort(byLine),
  };
}

function refuse(what: string, write: string): Parsed {
  return failed([{ path: '', line: 1, column: 1, what, write }]);
}

function failed(problems: readonly Problem[]): Parsed {
  return { ok: false, problems: [...problems].sort(byLine).slice(0, mostProblems) };
}

function byLine(a: Problem, b: Problem): number {
  return a.line - b.line || a.column - b.column;
}

const yamlAdvice: Readonly<Record<string, string>> = {
  DUPLICATE_KEY: 'write this key once',
  MULTIPLE_DOCS: 'write one cluster a file: leave out --- and what follows',
  TAB_AS_INDENT: 'write spaces instead of the tab',
  TAG_RESOLVE_FAILED: 'leave the tag (!…) out',
};

function yamlProblem({ code, message, pos }: YAMLError, lines: LineCounter): Problem {
  const { line, col: column } = lines.linePos(pos[0]);
  const [first = ''] = message.split('\n');
  const what = code === 'MULTIPLE_DOCS' ? 'a second document begins here' : first;
  return {
    path: '',
    line,
    column,
    what: what.replace(/ at line \d+, column \d+:?$/, ''),
    write: yamlAdvice[code] ?? 'correct the YAML: look at indentation, quotes and brackets',
  };
}
