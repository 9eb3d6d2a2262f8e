import type { Argument, Command } from 'commander';

/** What can be completed of one command; read off commander's own tree, so it cannot be out of date. */
export interface CommandWords {
  /** `['lab', 'up']`; empty for the program itself. */
  readonly path: readonly string[];
  readonly description: string;
  readonly commands: readonly string[];
  readonly options: readonly { readonly flag: string; readonly description: string }[];
  /** Options that are followed by a value; those of them that take a file. */
  readonly valued: readonly string[];
  readonly fileOptions: readonly string[];
  /** Whether an argument of it is a file. */
  readonly files: boolean;
  /** Words that an argument can be. */
  readonly choices: readonly string[];
}

export const shells = ['bash', 'zsh', 'fish'] as const;
export type Shell = (typeof shells)[number];

/** The command and all below it. */
export function wordsOf(command: Command, path: readonly string[] = []): readonly CommandWords[] {
  const below = command.commands.filter((one) => one.name() !== 'help');
  const options = command.options.filter(({ hidden }) => !hidden);
  const valued = options.filter(({ required, optional }) => required || optional);
  const own: CommandWords = {
    path,
    description: command.description(),
    commands: below.map((one) => one.name()),
    options: [
      ...options.flatMap(({ long, short, description }) => {
        const flag = long ?? short;
        return flag === undefined || flag === null ? [] : [{ flag, description }];
      }),
      { flag: '--help', description: 'what it does, with an example' },
    ],
    valued: valued.flatMap(({ long }) => long ?? []),
    fileOptions: valued
      .filter(({ flags }) => /<file>/.test(flags))
      .flatMap(({ long }) => long ?? []),
    files: command.registeredArguments.some(isFile),
    choices: command.registeredArguments.flatMap(({ argChoices }) => argChoices ?? []),
  };
  return [own, ...below.flatMap((one) => wordsOf(one, [...path, one.name()]))];
}

const isFile = (argument: Argument): boolean => /^(file|scenario)$/.test(argument.name());

/** A script for the shell to read at its start. */
export function completionScript(shell: Shell, program: Command): string {
  const words = wordsOf(program);
  switch (shell) {
    case 'bash':
      return bashScript(words);
    case 'zsh':
      return zshScript(words);
    case 'fish':
      return fishScript(words);
  }
}

/** The path so far chooses the case; what follows `lab exec NODE` is another program's business. */
function bashScript(words: readonly CommandWords[]): string {
  const cases = words.map((one) => {
    const options = one.options.map(({ flag }) => flag).join(' ');
    return `    '${one.path.join(' ')}')
      commands='${[...one.commands, ...one.choices].join(' ')}' options='${options}'
      valued='${one.valued.join(' ')}' file_options='${one.fileOptions.join(' ')}' files='${one.files ? 'yes' : ''}' ;;`;
  });
  const paths = words.map(({ path }) => path.join(' ')).filter((path) => path !== '');
  return `# understudy: completion. Load it with: source <(understudy completion bash)
_understudy() {
  local word=\${COMP_WORDS[COMP_CWORD]} previous=\${COMP_WORDS[COMP_CWORD - 1]}
  local path='' index candidate commands options valued file_options files
  for ((index = 1; index < COMP_CWORD; index++)); do
    candidate=\${path:+$path }\${COMP_WORDS[index]}
    case "$candidate" in
${paths.map((path) => `      '${path}') path=$candidate ;;`).join('\n')}
    esac
  done
  case "$path" in
${cases.join('\n')}
  esac
  COMPREPLY=()
  if [[ " $valued " == *" $previous "* ]]; then
    if [[ " $file_options " == *" $previous "* ]]; then COMPREPLY=($(compgen -f -- "$word")); fi
  elif [[ $word == -* ]]; then
    COMPREPLY=($(compgen -W "$options" -- "$word"))
  else
    COMPREPLY=($(compgen -W "$commands" -- "$word"))
    if [[ -n $files ]]; then COMPREPLY+=($(compgen -f -- "$word")); fi
  fi
}
complete -o filenames -F _understudy understudy
`;
}

/** To be sourced, or put into a folder of $fpath as `_understudy` (zshcompsys(1)). */
function zshScript(words: readonly CommandWords[]): string {
  const described = new Map(words.map((one) => [one.path.join(' '), one.description]));
  const item = (word: string, description: string) =>
    `'${`${word}:${description.replaceAll(':', '\\:')}`.replaceAll("'", "'\\''")}'`;
  const cases = words.map((one) => {
    const commands = [
      ...one.commands.map((name) => item(name, described.get([...one.path, name].join(' ')) ?? '')),
      ...one.choices.map((choice) => item(choice, '')),
    ];
    const options = one.options.map(({ flag, description }) => item(flag, description));
    return `    ('${one.path.join(' ')}')
      commands=(${commands.join(' ')})
      options=(${options.join(' ')})
      valued=(${one.valued.join(' ')}) file_options=(${one.fileOptions.join(' ')}) files='${one.files ? 'yes' : ''}' ;;`;
  });
  const paths = words.map(({ path }) => path.join(' ')).filter((path) => path !== '');
  return `#compdef understudy
# understudy: completion. Load it with: source <(understudy completion zsh)
_understudy() {
  local seen='' candidate files=''
  local -i index
  local -a commands options valued file_options
  for ((index = 2; index < CURRENT; index++)); do
    candidate="\${seen:+$seen }\${words[index]}"
    case $candidate in
${paths.map((path) => `      ('${path}') seen=$candidate ;;`).join('\n')}
    esac
  done
  case $seen in
${cases.join('\n')}
  esac
  local previous=\${words[CURRENT - 1]}
  if (( \${valued[(Ie)$previous]} )); then
    if (( \${file_options[(Ie)$previous]} )); then _files; fi
  elif [[ $PREFIX == -* ]]; then
    _describe -o option options
  else
    if (( $#commands )); then _describe command commands; fi
    if [[ -n $files ]]; then _files; fi
  fi
}
if [[ $funcstack[1] == _understudy ]]; then _understudy; else compdef _understudy understudy; fi
`;
}

function fishScript(words: readonly CommandWords[]): string {
  const quoted = (text: string) => `'${text.replaceAll('\\', '\\\\').replaceAll("'", "\\'")}'`;
  const described = new Map(words.map((one) => [one.path.join(' '), one.description]));
  const lines = words.flatMap((one) => {
    // Seen: every word of the path; not seen: any command below it.
    const seen = one.path.map((word) => `__fish_seen_subcommand_from ${word}`);
    const none =
      one.commands.length === 0
        ? []
        : [`not __fish_seen_subcommand_from ${one.commands.join(' ')}`];
    const top = one.path.length === 0 ? ['__fish_use_subcommand'] : [];
    const condition = [...seen, ...(top.length > 0 ? top : none)].join('; and ');
    const base = `complete -c understudy -n ${quoted(condition)}`;
    return [
      ...one.commands.map((name) => {
        const description = described.get([...one.path, name].join(' ')) ?? '';
        return `${base} -f -a ${name} -d ${quoted(description)}`;
      }),
      ...one.choices.map((choice) => `${base} -f -a ${choice}`),
      ...one.options.map(({ flag, description }) => {
        const files = one.files ? '' : ' -f';
        const value = !one.valued.includes(flag)
          ? files
          : one.fileOptions.includes(flag)
            ? ' -r -F'
            : ' -x';
        return `${base} -l ${flag.replace(/^--/, '')}${value} -d ${quoted(description)}`;
      }),
    ];
  });
  return `# understudy: completion. Load it with: understudy completion fish | source\n${lines.join('\n')}\n`;
}
