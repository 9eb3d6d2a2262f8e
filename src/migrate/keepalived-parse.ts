import { Variables } from './keepalived-variables.js';

/** A line of keepalived.conf(5), with what stands in its braces. */
export interface Directive {
  readonly line: number;
  readonly words: readonly string[];
  readonly block: readonly Directive[];
}

export interface Read {
  readonly directives: readonly Directive[];
  /** Braces that do not match, variables that are not defined and the like, by line. */
  readonly faults: readonly { readonly line: number; readonly why: string }[];
}

interface Open {
  readonly words: readonly string[];
  readonly line: number;
  readonly block: Directive[];
}

/** Deeper than any block of keepalived. */
const deepest = 16;

/** Words and braces, line by line; `#` and `!` begin a comment. Never throws. */
export function readKeepalived(text: string): Read {
  const faults: { line: number; why: string }[] = [];
  const top: Directive[] = [];
  const open: Open[] = [];
  const into = () => open.at(-1)?.block ?? top;
  const variables = new Variables();
  for (const [index, written] of text.split('\n').entries()) {
    const line = index + 1;
    const { text: raw, faults: complaints } = variables.read(written);
    for (const why of complaints) faults.push({ line, why });
    let words: string[] = [];
    const end = () => {
      if (words.length > 0) into().push({ line, words, block: [] });
      words = [];
    };
    for (const token of tokens(raw)) {
      if (token === '{') {
        // `virtual_ipaddress` on one line and `{` on the next is the same.
        const before = words.length === 0 ? into().pop() : undefined;
        if (open.length >= deepest) faults.push({ line, why: 'it is nested too deeply' });
        else open.push({ words: before?.words ?? words, line: before?.line ?? line, block: [] });
        words = [];
      } else if (token === '}') {
        end();
        const done = open.pop();
        if (done === undefined) faults.push({ line, why: 'there is no { for this }' });
        else into().push(done);
      } else {
        words.push(token.replace(/^(["'])(.*)\1$/, '$2'));
      }
    }
    end();
  }
  for (let left = open.pop(); left !== undefined; left = open.pop()) {
    faults.push({ line: left.line, why: 'there is no } for this {' });
    into().push(left);
  }
  return { directives: top, faults };
}

function tokens(line: string): readonly string[] {
  const found: string[] = [];
  for (const [token] of line.matchAll(/"[^"]*"|'[^']*'|[{}]|[#!].*|[^\s{}"']+/g)) {
    if (/^[#!]/.test(token)) break;
    found.push(token);
  }
  return found;
}
