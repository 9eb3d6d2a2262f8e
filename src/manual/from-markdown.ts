import { roffBlock, roffText, roffWord } from './roff.js';

/**
 * The Markdown that docs/ is written in, as man(7): headings, paragraphs, lists, fenced blocks and
 * tables. A table becomes a list with its first column as tags: whole sentences in columns do not
 * fit a terminal.
 */
export function fromMarkdown(text: string): string {
  const out: string[] = [];
  let rest = text.split('\n');
  while (rest.length > 0) {
    const [line = ''] = rest;
    const reader = readers.find(({ begins }) => begins.test(line)) ?? paragraph;
    const length = extent(rest, reader.goesOn);
    const block = reader.write(rest.slice(0, length));
    if (block !== '') out.push(block);
    rest = rest.slice(length);
  }
  return `${out.join('\n')}\n`;
}

/** Part of a page below a heading, without it, up to the next one of the same level. */
export function section(page: string, heading: string): string {
  const start = page.indexOf(`\n${heading}\n`);
  if (start < 0) throw new Error(`no heading ${heading}`);
  const rest = page.slice(start + heading.length + 2);
  const level = heading.match(/^#+/)?.[0].length ?? 1;
  const end = rest.search(new RegExp(`^#{1,${level}} `, 'm'));
  return end < 0 ? rest : rest.slice(0, end);
}

interface Reader {
  readonly begins: RegExp;
  /** Whether the line at this index still belongs to the block; the first one always does. */
  readonly goesOn: (line: string, index: number, lines: readonly string[]) => boolean;
  readonly write: (lines: readonly string[]) => string;
}

function extent(lines: readonly string[], goesOn: Reader['goesOn']): number {
  const end = lines.findIndex((line, index) => index > 0 && !goesOn(line, index, lines));
  return end < 0 ? lines.length : end;
}

const blank: Reader = { begins: /^\s*$/, goesOn: (line) => line.trim() === '', write: () => '' };

const heading: Reader = {
  begins: /^#+ /,
  goesOn: () => false,
  write: ([line = '']) => {
    const text = line.replace(/^#+ /, '').replaceAll('`', '');
    if (line.startsWith('### ')) return `.SS ${roffWord(text)}`;
    // The title of the page is in its NAME.
    return line.startsWith('## ') ? `.SH ${roffWord(text.toUpperCase())}` : '';
  },
};

const fence: Reader = {
  begins: /^```/,
  goesOn: (_line, index, lines) => index === 1 || !lines[index - 1]?.startsWith('```'),
  write: (lines) => `.PP\n.in +4n\n.EX\n${roffBlock(lines.slice(1, -1))}\n.EE\n.in`,
};

const item = /^(?:[*-]|\d+\.) /;
const list: Reader = {
  begins: item,
  goesOn: (line) => item.test(line) || /^\s+\S/.test(line),
  write: (lines) =>
    lines
      .join('\n')
      .split(/\n(?=[*-] |\d+\. )/)
      .map((one) => {
        const mark = /^\d+\./.exec(one)?.[0] ?? '\\(bu';
        return `.IP ${mark} 4\n${running(one.replace(item, '').split('\n'))}`;
      })
      .join('\n'),
};

const table: Reader = {
  begins: /^\|/,
  goesOn: (line) => line.startsWith('|'),
  write: (lines) => {
    const [titles = [], ...rows] = lines.filter((line) => !/^\|[\s|-]+$/.test(line)).map(cells);
    return rows
      .map(([tag = '', ...others]) => {
        const told = others.flatMap((cell, index) => {
          if (cell === '') return [];
          const title = titles[index + 1] ?? '';
          return [index === 0 || title === '' ? cell : `${title.replaceAll('`', '')}: ${cell}`];
        });
        return `.TP\n${roffText(tag)}\n${told.map((cell) => roffText(cell)).join('\n.br\n') || '\\&'}`;
      })
      .join('\n');
  },
};

const paragraph: Reader = {
  begins: /./,
  goesOn: (line) => readers.every(({ begins }) => !begins.test(line)),
  write: (lines) => `.PP\n${running(lines)}`,
};

const readers: readonly Reader[] = [blank, heading, fence, list, table];

/** Marks may span lines, so they are read as one. */
function running(lines: readonly string[]): string {
  return roffText(lines.map((line) => line.trim()).join(' '));
}

function cells(line: string): readonly string[] {
  const between = line.split(/(?<!\\)\|/).slice(1, -1);
  return between.map((cell) => cell.trim().replaceAll('\\|', '|'));
}
