import { readdirSync, readFileSync } from 'node:fs';
import { root } from '../cli/run.js';

/** A page for people, and what is written in it as code. */
export interface Page {
  /** From the root of the checkout. */
  readonly path: string;
  readonly text: string;
}

export interface Block {
  /** `README.md:78`. */
  readonly where: string;
  readonly language: string;
  readonly lines: readonly string[];
}

/** Every page that comes with the product. */
export function pages(): readonly Page[] {
  const top = ['README.md', 'CONTRIBUTING.md', 'SECURITY.md', 'CHANGELOG.md'];
  const below = readdirSync(`${root}docs`, { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.md'))
    .map((name) => `docs/${name}`);
  return [...top, ...below.sort()].map((path) => ({
    path,
    text: readFileSync(`${root}${path}`, 'utf8'),
  }));
}

export function page(path: string): Page {
  return { path, text: readFileSync(`${root}${path}`, 'utf8') };
}

const fenced = /^```(\w*)\n([\s\S]*?)^```$/gm;

/** What stands between fences. */
export function blocks({ path, text }: Page): readonly Block[] {
  return [...text.matchAll(fenced)].map(({ 1: language = '', 2: body = '', index }) => ({
    where: `${path}:${text.slice(0, index).split('\n').length}`,
    language,
    lines: body
      .replace(/\\\n\s*/g, '')
      .trimEnd()
      .split('\n'),
  }));
}

/** The first block in a language below a heading (`## LIO`). */
export function blockBelow(one: Page, heading: string, language: string): readonly string[] {
  const start = one.text.indexOf(`\n${heading}\n`);
  if (start < 0) throw new Error(`${one.path} has no heading ${heading}`);
  const found = blocks({ path: one.path, text: one.text.slice(start) });
  const block = found.find((each) => each.language === language);
  if (block === undefined) throw new Error(`${one.path} has no ${language} below ${heading}`);
  return block.lines;
}

/** What stands between backquotes in running text; a line's end in it is a space. */
export function spans({ path, text }: Page): readonly { where: string; code: string }[] {
  const prose = text.replace(fenced, (all) => all.replace(/[^\n]/g, ' '));
  return [...prose.matchAll(/`([^`]+)`/g)].map(({ 1: code = '', index }) => ({
    where: `${path}:${prose.slice(0, index).split('\n').length}`,
    code: code.replace(/\s*\n\s*/g, ' '),
  }));
}

/** Rows of tables below a heading (`## hosts`), cell by cell; all of the page's without one. */
export function rows({ text }: Page, heading?: string): readonly (readonly string[])[] {
  const start = heading === undefined ? 0 : text.indexOf(`\n${heading}\n`);
  if (start < 0) return [];
  const rest = text.slice(start + (heading === undefined ? 0 : heading.length + 1));
  const level = heading?.match(/^#+/)?.[0].length ?? 0;
  const end = level === 0 ? -1 : rest.search(new RegExp(`^#{1,${level}} `, 'm'));
  const part = end < 0 ? rest : rest.slice(0, end);
  return part
    .split('\n')
    .filter((line) => line.startsWith('|') && !/^\|[\s|-]+$/.test(line))
    .map((line) => line.split(/(?<!\\)\|/).slice(1, -1))
    .map((cells) => cells.map((cell) => cell.trim()));
}

export const inBackquotes = (text: string): string[] =>
  [...text.matchAll(/`([^`]+)`/g)].map(([, code = '']) => code);
