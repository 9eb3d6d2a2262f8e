import { type Command, InvalidArgumentError } from 'commander';
import { type Context, example, finish } from '../context.js';

interface Flags {
  readonly json?: boolean;
  readonly seed?: number;
  readonly hours?: number;
  readonly kill?: readonly string[];
}

export function register(program: Command, { signal }: Context): void {
  const command = program
    .command('simulate')
    .description('run a cluster file against faults, on a virtual clock; nothing real is touched')
    .argument('<file>', 'cluster file (YAML)')
    .option('--seed <number>', 'this run alone, line by line; with --hours the first', wholeNumber)
    .option('--hours <number>', 'simulated time, in runs of 20 faults each (default: 0.25)', hours)
    .option(
      '--kill <host@time>',
      'no faults but this power cut, e.g. h1@2s; may be repeated',
      (text: string, before: readonly string[] = []) => [...before, text],
    )
    .option('--json', 'print JSON')
    .action(async (file: string, { json = false, seed, hours: length, kill = [] }: Flags) => {
      const { run } = await import('../run/simulate.js');
      await finish(json, () =>
        run({
          file,
          json,
          signal,
          kill,
          ...(seed === undefined ? {} : { seed }),
          ...(length === undefined ? {} : { hours: length }),
        }),
      );
    });
  example(
    command,
    'understudy simulate examples/lab.yaml',
    'understudy simulate examples/lab.yaml --seed 7',
    'understudy simulate examples/lab.yaml --kill h1@2s --kill h4@5s',
  );
}

function wholeNumber(text: string): number {
  const number = Number(text);
  if (Number.isSafeInteger(number) && number >= 0 && text !== '') return number;
  throw new InvalidArgumentError('write a whole number');
}

function hours(text: string): number {
  const number = Number(text);
  if (number > 0 && number <= 10_000) return number;
  throw new InvalidArgumentError('write hours, more than 0 and up to 10000');
}
