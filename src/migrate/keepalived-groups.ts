import type { Directive } from './keepalived-parse.js';

/** Instance → sync group: what moves together is one personality. `from` are the lines that say so. */
export function groupsOf(written: readonly Directive[]): {
  readonly groups: ReadonlyMap<string, string>;
  readonly from: readonly Directive[];
} {
  const groups = new Map<string, string>();
  const from: Directive[] = [];
  for (const group of written) {
    for (const list of group.block.filter(({ words }) => words[0] === 'group')) {
      from.push(group, list, ...list.block);
      for (const { words } of list.block)
        for (const name of words) groups.set(name, group.words[1] ?? '');
    }
  }
  return { groups, from };
}
