import { Command } from 'commander';
import { commands } from '../../src/cli/commands.js';
import { wordsOf } from '../../src/cli/completion.js';
import { blocks, inBackquotes, type Page, rows, spans } from './pages.js';

/** A command of ours as a page has it. */
export interface Written {
  readonly where: string;
  /** After `understudy`. */
  readonly text: string;
  /** In running text a command's bare name may stand for it. */
  readonly prose: boolean;
}

/** Up to what ends a command in a shell; a comment too. */
const called = /(?:^|[\s(])understudy ([^)|>;#]*)/g;

/** Everything that a page tells to call, or calls a command. */
export function writtenCommands(page: Page): readonly Written[] {
  const inBlocks = blocks(page)
    .filter(isShell)
    .flatMap(({ where, lines }) =>
      lines.flatMap((line) =>
        [...line.replace(/#.*/, '').matchAll(called)].map(([, text = '']) => ({
          where,
          text: text.trim(),
          prose: false,
        })),
      ),
    );
  const inText = spans(page).flatMap(({ where, code }) =>
    [...code.matchAll(called)].map(([, text = '']) => ({ where, text: text.trim(), prose: true })),
  );
  return [...inBlocks, ...inText.filter(({ text }) => /^[-\w]/.test(text)), ...tabled(page)];
}

/** Reference pages list their commands without the program's name. */
function tabled(page: Page): readonly Written[] {
  const heading = {
    'docs/reference/cli.md': '## All of them',
    'docs/reference/lab.md': '## Commands',
  };
  const own = heading[page.path as keyof typeof heading];
  if (own === undefined) return [];
  const found = rows(page, own)
    .slice(1)
    .flatMap(([first = '']) => inBackquotes(first));
  return found.map((text) => ({ where: `${page.path} ${own}`, text, prose: false }));
}

/** Blocks without a language hold commands, output or a picture; commands are what a shell could run. */
export function isShell({
  language,
  lines,
}: {
  language: string;
  lines: readonly string[];
}): boolean {
  const start = /^(?:\(?(?:umask|for|while|if)\b|\w+=\S+(?: |$)|[a-z][\w./-]*(?: |$)|#)/;
  if (['sh', 'bash'].includes(language)) return true;
  return (
    language === '' &&
    lines.every((line) => line === '' || start.test(line) || /^ {2}/.test(line)) &&
    lines.some((line) => programs.test(line))
  );
}

/** What the pages call; another program is a decision. */
const programs =
  /^(?:\w+=\S+ )*(?:npm|npx|understudy|systemctl|tar|apt-get|install|scripts\/\w+|source|etcdctl|scp|ssh|curl|promtool|echo|\(umask)\b/;

const placeholders: Readonly<Record<string, string>> = {
  N: '1',
  H: '1',
  SHELL: 'bash',
  SIGNAL: 'KILL',
  ROLE: 'read',
  'HOST@TIME': 'h1@2s',
  'ADDRESS:PORT': '10.10.0.200:40001',
};

/** `a [--b C] [--d]` is `a`, `a --b C` and `a --d`. */
export function variants(text: string): readonly (readonly string[])[] {
  const optional = [...text.matchAll(/\[([^\]]*)\]/g)].map(([, inner = '']) => inner);
  const bare = text.replace(/\[[^\]]*\]/g, ' ');
  return [bare, ...optional.map((one) => `${bare} ${one}`)].map((line) => words(line));
}

/** As a shell splits it; what is written in capitals stands for anything. */
function words(line: string): readonly string[] {
  const split = line.replaceAll('…', '').match(/'[^']*'|"[^"]*"|\S+/g) ?? [];
  const plain = split.map((word) => word.replace(/^(['"])(.*)\1$/, '$2'));
  return plain.map((word, index) =>
    word === 'COMMAND' && plain[index - 1] !== '--' ? 'status' : (placeholders[word] ?? word),
  );
}

/** Reads a command by the definitions of the command line, and runs nothing. */
export function complaintOf(argv: readonly string[]): string | undefined {
  let complaint: string | undefined;
  const silent = (command: Command): void => {
    command.exitOverride().configureOutput({
      writeOut: () => {},
      writeErr: (text) => {
        complaint = text.trim();
      },
    });
    if (command.commands.length === 0) command.action(() => {});
    for (const below of command.commands) silent(below);
  };
  const program = definitions();
  silent(program);
  try {
    program.parse(argv, { from: 'user' });
  } catch (thrown) {
    const { exitCode, message } = thrown as { exitCode?: number; message: string };
    return exitCode === 0 ? undefined : (complaint ?? message);
  }
  return undefined;
}

const known = new Set(wordsOf(definitions()).map(({ path }) => path.join(' ')));

/** Whether this is the name of a command and nothing more. */
export const isName = (text: string): boolean => known.has(text);

function definitions(): Command {
  const program = new Command('understudy').version('0.0.0').enablePositionalOptions();
  const context = { signal: new AbortController().signal };
  for (const command of commands) command.register(program, context);
  return program;
}
