import { type Command, CommanderError } from 'commander';
import { test } from 'tap';
import { understudyProgram } from '../../src/cli/program.js';
import { runProgram, understudy } from './run.js';

/** Each command as a list of words: `['lab', 'up']`. */
function namesBelow(command: Command, above: readonly string[] = []): string[][] {
  return command.commands.flatMap((one) => {
    const name = [...above, one.name()];
    return [name, ...namesBelow(one, name)];
  });
}

const program = (): Command => understudyProgram({ signal: new AbortController().signal });

const everyCommand = (): string[][] => namesBelow(program());

/** What the command line itself says to these words, and its exit code, without a process for each. */
async function saidTo(
  words: readonly string[],
): Promise<{ code: number; out: string; err: string }> {
  const said = { out: '', err: '' };
  const listen = (command: Command): void => {
    command.exitOverride().configureOutput({
      writeOut: (text) => {
        said.out += text;
      },
      writeErr: (text) => {
        said.err += text;
      },
    });
    command.commands.forEach(listen);
  };
  const whole = program();
  listen(whole);
  try {
    await whole.parseAsync(words, { from: 'user' });
  } catch (thrown) {
    if (thrown instanceof CommanderError) return { code: thrown.exitCode, ...said };
    throw thrown;
  }
  throw new Error(`${words.join(' ')} went on`);
}

test('the contract’s commands are there', async (t) => {
  const names = everyCommand().map((words) => words.join(' '));
  const top = [
    'validate',
    'plan',
    'apply',
    'status',
    'events',
    'audit',
    'failovers',
    'move',
    'drain',
  ];
  const daemons = ['agent', 'pulse', 'pulse-restart', 'clear-host', 'target'];
  const more = ['undrain', 'which', 'doctor', 'completion', 'demo', 'lab'];
  const lab = [
    'up',
    'down',
    'status',
    'exec',
    'kill',
    'start',
    'pause',
    'resume',
    'partition',
    'heal',
    'run',
  ];
  const wanted = [...top, ...daemons, ...more, ...lab.map((name) => `lab ${name}`)];
  t.strictSame(
    wanted.filter((name) => !names.includes(name)),
    [],
  );
});

test('--help of every command exits 0 and shows an example', async (t) => {
  for (const words of [[], ...everyCommand()]) {
    const { code, out, err } = await saidTo([...words, '--help']);
    const name = ['understudy', ...words].join(' ');
    t.strictSame([code, err], [0, ''], name);
    t.match(out, `Usage: ${name}`);
    t.match(out, /\nExample:\n {2}\$ understudy \S/, name);
  }
  for (const words of [[], ['move'], ['lab', 'up']]) {
    const { code, stdout, stderr } = await understudy([...words, '--help']);
    const { out } = await saidTo([...words, '--help']);
    t.strictSame([code, stdout, stderr], [0, out, ''], 'so does the program');
  }
});

test('wrong usage exits 2, says why on stderr and prints nothing else', async (t) => {
  const wrong: readonly (readonly [readonly string[], RegExp])[] = [
    [[], /Usage: understudy/],
    [['frobnicate'], /unknown command 'frobnicate'/],
    [['statsu'], /Did you mean status\?/],
    [['status', '--frobnicate'], /unknown option '--frobnicate'/],
    [['validate'], /missing required argument 'file'/],
    [['validate', 'a', 'b'], /too many arguments/],
    [['move'], /missing required argument 'personality'/],
    [['agent'], /required option '--config <file>' not specified/],
    [['lab'], /Usage: understudy lab/],
    [['lab', 'frobnicate'], /unknown command 'frobnicate'/],
    [['lab', 'exec', 'c1'], /missing required argument 'command'/],
    [['lab', 'exec', 'c1', '--'], /no command to run/],
    [['lab', 'partition', 'h1', '--storage', '--all'], /cannot be used with/],
  ];
  for (const [args, message] of wrong) {
    const { code, out, err } = await saidTo(args);
    t.strictSame([code > 0, out], [true, ''], args.join(' '));
    t.match(err, message, args.join(' '));
  }
  for (const args of [[], ['frobnicate'], ['lab', 'exec', 'c1', '--']]) {
    const ran = await understudy(args);
    const { err } = await saidTo(args);
    t.strictSame([ran.code, ran.stdout, ran.stderr], [2, '', err], args.join(' '));
  }
});

test('--version prints the version alone', async (t) => {
  const { code, stdout } = await understudy(['--version']);
  t.equal(code, 0);
  t.match(stdout, /^\d+\.\d+\.\d+\n$/);
});

test('a reader that has seen enough is no failure', async (t) => {
  const script = 'set -o pipefail; node bin/understudy --help | head -c 1';
  t.strictSame(await runProgram('bash', ['-c', script]), { code: 0, stdout: 'U', stderr: '' });
});
