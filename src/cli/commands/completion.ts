import { Argument, type Command } from 'commander';
import { example, finish } from '../context.js';

export function register(program: Command): void {
  const command = program
    .command('completion')
    .description('a script that lets a shell complete commands and options')
    .addArgument(new Argument('<shell>', 'which shell').choices(['bash', 'zsh', 'fish']))
    .action((shell: 'bash' | 'zsh' | 'fish') =>
      finish(false, async () => {
        const { completionScript } = await import('../completion.js');
        process.stdout.write(completionScript(shell, program));
        return 0;
      }),
    );
  example(
    command,
    'understudy completion fish > ~/.config/fish/completions/understudy.fish',
    'source <(understudy completion bash)   # in ~/.bashrc; zsh alike',
  );
}
