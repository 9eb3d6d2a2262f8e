import type { Command } from 'commander';
import { fromMarkdown, section } from './from-markdown.js';
import { roffCode, roffText, roffWord } from './roff.js';

export interface ManualPage {
  readonly name: string;
  readonly section: 1 | 5;
  readonly text: string;
}

export interface ManualSource {
  readonly program: Command;
  readonly version: string;
  /** `2026-11-28`. */
  readonly date: string;
  /** A page of docs/reference by its name, `cli`. */
  readonly reference: (name: string) => string;
}

/** Every manual page, from the command line's own definition and docs/reference. */
export function manualPages(source: ManualSource): readonly ManualPage[] {
  const daemons = source.reference('daemons');
  return [
    commandPage(source),
    filePage(source, {
      name: 'understudy-agent.yaml',
      about: 'settings of Understudy\u2019s agent on this host',
      file: '/etc/understudy/agent.yaml',
      body: section(daemons, '## /etc/understudy/agent.yaml'),
    }),
    filePage(source, {
      name: 'understudy-pulse.yaml',
      about: 'settings of Understudy\u2019s pulse on this host',
      file: '/etc/understudy/pulse.yaml',
      body: section(daemons, '## /etc/understudy/pulse.yaml'),
    }),
    filePage(source, {
      name: 'understudy-target.yaml',
      about: 'settings of Understudy\u2019s daemon beside an iSCSI target',
      file: '/etc/understudy/target.yaml',
      body: section(daemons, '## understudy target'),
    }),
    filePage(source, {
      name: 'understudy-cluster.yaml',
      about: 'what a cluster of Understudy consists of',
      file: undefined,
      body: source.reference('cluster-file'),
    }),
  ];
}

function commandPage(source: ManualSource): ManualPage {
  const { program } = source;
  const reference = source.reference('cli').replace(/\n## All of them\n[\s\S]*?(?=\n## )/, '\n');
  const firstSection = reference.search(/^## /m);
  const description = program.description();
  const text = [
    title(source, 'understudy', 1),
    `.SH NAME\nunderstudy \\- ${roffText(decapitalised(description))}`,
    '.SH SYNOPSIS\n.B understudy\n.I COMMAND\n[\\fIARGUMENT\\fR ...]',
    `.SH DESCRIPTION\n${fromMarkdown(reference.slice(0, firstSection)).trimEnd()}`,
    `.SH COMMANDS\n${leaves(program, []).map(commandText).join('\n')}`,
    fromMarkdown(reference.slice(firstSection)).trimEnd(),
    seeAlso('understudy'),
  ];
  return { name: 'understudy', section: 1, text: `${text.join('\n')}\n` };
}

interface Leaf {
  readonly path: readonly string[];
  readonly command: Command;
}

/** The commands that do something; those that only hold others are left out. */
function leaves(command: Command, path: readonly string[]): readonly Leaf[] {
  const below = command.commands.filter((one) => one.name() !== 'help');
  if (below.length === 0) return [{ path, command }];
  return below.flatMap((one) => leaves(one, [...path, one.name()]));
}

function commandText({ path, command }: Leaf): string {
  const words = command.registeredArguments.map((argument) => {
    const name = `${argument.name().toUpperCase()}${argument.variadic ? ' ...' : ''}`;
    return argument.required ? `\\fI${roffCode(name)}\\fR` : `[\\fI${roffCode(name)}\\fR]`;
  });
  const options = command.options
    .filter(({ hidden }) => !hidden)
    .map(({ flags, description }) => `.TP\n\\fB${roffCode(flags)}\\fR\n${roffText(description)}`);
  const head = `.TP\n\\fB${roffCode(path.join(' '))}\\fR ${words.join(' ')}`.trimEnd();
  const nested = options.length === 0 ? [] : ['.RS', ...options, '.RE'];
  return [head, roffText(command.description()), ...nested].join('\n');
}

interface FilePage {
  readonly name: string;
  readonly about: string;
  /** Where it is, if it is always there. */
  readonly file: string | undefined;
  readonly body: string;
}

function filePage(source: ManualSource, { name, about, file, body }: FilePage): ManualPage {
  const text = [
    title(source, name, 5),
    `.SH NAME\n${roffCode(name)} \\- ${roffText(about)}`,
    ...(file === undefined ? [] : [`.SH SYNOPSIS\n.I ${roffCode(file)}`]),
    `.SH DESCRIPTION\n${fromMarkdown(body).trimEnd()}`,
    seeAlso(name),
  ];
  return { name, section: 5, text: `${text.join('\n')}\n` };
}

function title({ version, date }: ManualSource, name: string, number: number): string {
  const words = [name.toUpperCase(), String(number), date, `understudy ${version}`];
  // Long words of code cannot be spread or hyphenated: a ragged margin.
  return `.TH ${words.map(roffWord).join(' ')}\n.ad l\n.nh`;
}

function seeAlso(own: string): string {
  const others = [
    ['understudy', 1],
    ['understudy-agent.yaml', 5],
    ['understudy-pulse.yaml', 5],
    ['understudy-target.yaml', 5],
    ['understudy-cluster.yaml', 5],
  ] as const;
  const told = others
    .filter(([name]) => name !== own)
    .map(([name, number]) => `\\fB${roffCode(name)}\\fR(${number})`);
  return `.SH SEE ALSO\n${told.join(',\n')}`;
}

const decapitalised = (sentence: string): string =>
  `${sentence.charAt(0).toLowerCase()}${sentence.slice(1)}`.replace(/\.$/, '');
