import { type Command, Option } from 'commander';
import { type Context, example, finish } from '../context.js';

export function register(program: Command, { signal }: Context): void {
  const command = program
    .command('demo')
    .description('the demonstration: a lab, a power cut, and what observers saw')
    .addOption(
      new Option('--backend <kind>', 'what a host is: namespaces, or a virtual machine')
        .choices(['netns', 'vm'])
        .default('netns'),
    )
    .option('--json', 'print only JSON on stdout')
    .action(async ({ backend, json = false }: { backend: 'netns' | 'vm'; json?: boolean }) => {
      const { runDemo } = await import('../../demo/main.js');
      await finish(json, () => runDemo({ backend, json, signal }));
    });
  example(command, 'understudy demo', 'understudy demo --backend vm');
}
