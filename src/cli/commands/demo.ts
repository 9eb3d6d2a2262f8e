import type { Command } from 'commander';
import { type Context, example, finish } from '../context.js';

export function register(program: Command, { signal }: Context): void {
  const command = program
    .command('demo')
    .description('the demonstration: a lab, a power cut, and what observers saw')
    .option('--json', 'print only JSON on stdout')
    .action(async (options: { json?: boolean }) => {
      const { runDemo } = await import('../../demo/main.js');
      await finish(options.json, () => runDemo({ json: options.json ?? false, signal }));
    });
  example(command, 'understudy demo');
}
