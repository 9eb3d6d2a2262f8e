import { Command } from 'commander';
import { ownVersion } from '../version.js';
import { commands } from './commands.js';
import { type Context, example } from './context.js';

/** The whole command line; what a command needs is loaded only when it runs. */
export function understudyProgram(context: Context): Command {
  const program = new Command('understudy')
    .description('Keeps spare Linux hosts ready to step into the role of a failed one.')
    .version(ownVersion())
    .exitOverride()
    .enablePositionalOptions() // what stands after `lab exec NODE` belongs to that command
    .showHelpAfterError('(understudy --help shows the commands)');
  example(program, 'understudy validate cluster.yaml', 'understudy status');
  for (const command of commands) command.register(program, context);
  return program;
}
