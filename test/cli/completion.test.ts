import { Command } from 'commander';
import { test } from 'tap';
import { commands } from '../../src/cli/commands.js';
import { completionScript, shells, wordsOf } from '../../src/cli/completion.js';
import { runProgram, understudy } from './run.js';

function program(): Command {
  const top = new Command('understudy').version('1.2.3').enablePositionalOptions();
  const context = { signal: new AbortController().signal };
  for (const command of commands) command.register(top, context);
  return top;
}

/** What bash would offer for the last of these words. */
async function offered(...words: readonly string[]): Promise<readonly string[]> {
  const script = `${completionScript('bash', program())}
COMP_WORDS=("$@") COMP_CWORD=$(($# - 1))
_understudy
printf '%s\\n' "\${COMPREPLY[@]}"`;
  const { code, stdout, stderr } = await runProgram('bash', [
    ...['-c', script, 'bash', 'understudy'],
    ...words,
  ]);
  if (code !== 0 || stderr !== '') throw new Error(stderr);
  return stdout.trim().split('\n').sort();
}

test('bash: commands, commands below them, options, files and choices', async (t) => {
  t.same(await offered('st'), ['status']);
  t.ok((await offered('')).includes('doctor'));
  t.same(await offered('lab', 'pa'), ['partition', 'pause']);
  t.same(await offered('plan', '--js'), ['--json']);
  t.same(await offered('plan', 'exampl'), ['examples']);
  t.same(await offered('status', 'exampl'), [''], 'no file where none is wanted');
  t.same(await offered('status', '--config', 'exampl'), ['examples'], 'the value of an option');
  t.same(await offered('status', '--lab', 'exampl'), [''], 'a value that is no file');
  t.same(await offered('completion', ''), ['bash', 'fish', 'zsh']);
  t.same(await offered('status', '--config', 'a.yaml', '--wa'), ['--watch']);
});

test('every command and option is in each script', (t) => {
  const words = wordsOf(program());
  for (const shell of shells) {
    const script = completionScript(shell, program());
    const missing = words.flatMap(({ commands, options }) =>
      [...commands, ...options.map(({ flag }) => flag)].filter(
        // fish knows options without their dashes.
        (word) => !new RegExp(`(^|[\\s('])${word.replace(/^--/, '(--|-l )')}\\b`, 'm').test(script),
      ),
    );
    t.same([...new Set(missing)], [], shell);
  }
  t.end();
});

test('the command prints the script of the shell that is named, and of no other', async (t) => {
  t.match(await understudy(['completion', 'fish']), {
    code: 0,
    stdout: /^# understudy: .*\ncomplete -c/,
  });
  t.match(await understudy(['completion', 'nosh']), {
    code: 2,
    stdout: '',
    stderr: /bash, zsh, fish/,
  });
});
