import { readFileSync, writeFileSync } from 'node:fs';

/** A table of Markdown, first column to the left, numbers to the right. */
export function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]) => `| ${cells.join(' | ')} |`;
  return [
    line(head),
    line(head.map((_, index) => (index === 0 ? '-' : '-:'))),
    ...rows.map(line),
  ].join('\n');
}

/** Three digits that count, and thousands apart. */
export function figure(value: number): string {
  if (!Number.isFinite(value)) return '–';
  const digits = value === 0 ? 0 : Math.max(0, 2 - Math.floor(Math.log10(Math.abs(value))));
  return Number(value.toPrecision(3)).toLocaleString('en-US', {
    maximumFractionDigits: digits,
    minimumFractionDigits: 0,
  });
}

/** Puts what was measured between `<!-- NAME -->` and `<!-- end -->` of a page. */
export function intoPage(page: URL, name: string, text: string): void {
  const before = readFileSync(page, 'utf8');
  const start = `<!-- ${name} -->`;
  const from = before.indexOf(start);
  const to = before.indexOf('<!-- end -->', from);
  if (from < 0 || to < 0) throw new Error(`${page.pathname} has no place for ${name}`);
  writeFileSync(page, `${before.slice(0, from + start.length)}\n${text}\n${before.slice(to)}`);
}
