import { type Document, isAlias, isMap, isScalar, isSeq, type LineCounter, type Node } from 'yaml';
import type { Fault, Path } from './faults.js';

/** One thing that is wrong in a cluster file. */
export interface Problem {
  /** Where, as a path: `networks[0].id`. */
  readonly path: string;
  /** Counted from 1. */
  readonly line: number;
  /** Counted from 1. */
  readonly column: number;
  readonly what: string;
  /** What to write instead. */
  readonly write: string;
}

/** A fault with the place where the deepest part of its path that is there begins. */
export function locate(fault: Fault, document: Document, lines: LineCounter): Problem {
  const at = lines.linePos(offsetOf(document, fault.path));
  const { what, write } = fault;
  return { path: pathText(fault.path), line: at.line, column: at.col, what, write };
}

/** `networks[0].id` */
export function pathText(path: Path): string {
  return path.reduce<string>((text, part) => {
    if (typeof part === 'number') return `${text}[${part}]`;
    return text === '' ? part : `${text}.${part}`;
  }, '');
}

function offsetOf(document: Document, path: Path): number {
  let node: unknown = document.contents;
  let offset = document.contents?.range?.[0] ?? 0;
  for (const part of path) {
    // What an alias stands for is written at its anchor: there it must be changed.
    if (isAlias(node)) node = node.resolve(document);
    if (isMap(node)) {
      const pair = node.items.find(({ key }) => String(isScalar(key) ? key.value : key) === part);
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
