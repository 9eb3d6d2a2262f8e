import type { Command } from 'commander';
import { type Context, example, finish } from '../context.js';

interface Flags {
  readonly config: string;
  readonly json?: boolean;
}

/** The cluster key, changed host by host with no failover. */
export function register(program: Command, { signal }: Context): void {
  const key = program
    .command('key')
    .description('change the cluster key with no failover: accept, use, drop, each on every host');
  example(key, 'understudy key accept new.key', 'understudy key use', 'understudy key drop');
  const below = (name: string, description: string) =>
    key
      .command(name)
      .description(description)
      .option(
        '--config <file>',
        'the agent configuration of this host',
        '/etc/understudy/agent.yaml',
      )
      .option('--json', 'print JSON');
  const common = ({ config, json = false }: Flags) => ({ config, json, signal });

  const accept = below('accept', 'this host accepts another key too')
    .argument('<file>', 'the new key, mode 0600')
    .action(async (file: string, flags: Flags) => {
      const { accept } = await import('../run/key.js');
      await finish(flags.json, () => accept({ ...common(flags), file }));
    });
  example(accept, 'understudy key accept new.key');
  const steps = [
    ['show', 'which keys this host’s pulse has, by name'],
    ['use', 'this host signs by the new key; refused until every host accepts it'],
    ['drop', 'this host forgets the old key; refused until every host signs by the new one'],
  ] as const;
  for (const [name, description] of steps) {
    const command = below(name, description).action(async (flags: Flags) => {
      const run = await import('../run/key.js');
      await finish(flags.json, () => run[name](common(flags)));
    });
    example(command, `understudy key ${name}`);
  }
}
