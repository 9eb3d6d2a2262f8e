import { type Command, InvalidArgumentError, Option } from 'commander';
import { roles } from '../../api/roles.js';
import { defaultTokenFile } from '../../api/token-file.js';
import { example, finish } from '../context.js';

interface Flags {
  readonly file: string;
  readonly json?: boolean;
}

/** Tokens of the API for callers elsewhere: a file of this host, no matter of the cluster's. */
export function register(program: Command): void {
  const token = program
    .command('token')
    .description("tokens of this host's API for callers elsewhere");
  example(token, 'understudy token add prometheus --role read', 'understudy token list');
  const below = (name: string) =>
    token
      .command(name)
      .option('--file <file>', 'where they are kept', defaultTokenFile)
      .option('--json', 'print JSON');
  const add = below('add')
    .description('make a token; it is shown this once')
    .argument('<name>', 'whose it is')
    .addOption(new Option('--role <role>', 'what it allows').choices(roles).makeOptionMandatory())
    .option('--days <number>', 'until it expires', days, 365)
    .action(
      async (name: string, options: Flags & { role: (typeof roles)[number]; days: number }) => {
        const { add } = await import('../run/token.js');
        await finish(options.json, () => add({ ...options, json: options.json ?? false, name }));
      },
    );
  example(
    add,
    'understudy token add prometheus --role read',
    'understudy token add alice --role operate --days 90',
  );
  const list = below('list')
    .description('whose tokens there are, with role and end')
    .action(async (options: Flags) => {
      const { list } = await import('../run/token.js');
      await finish(options.json, () => list({ ...options, json: options.json ?? false }));
    });
  example(list, 'understudy token list');
  const remove = below('remove')
    .description('remove a token; it is let in no more from that moment')
    .argument('<name>', 'whose it is')
    .action(async (name: string, options: Flags) => {
      const { remove } = await import('../run/token.js');
      await finish(options.json, () => remove({ ...options, json: options.json ?? false, name }));
    });
  example(remove, 'understudy token remove alice');
}

function days(text: string): number {
  const number = Number(text);
  if (Number.isInteger(number) && number >= 1 && number <= 3_650) return number;
  throw new InvalidArgumentError('write a number of days from 1 to 3650');
}
