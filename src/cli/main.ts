import { type Command, CommanderError } from 'commander';
import { interruptible } from './interrupt.js';
import { understudyProgram } from './program.js';

const usageExitCode = 2;

async function main(): Promise<void> {
  const program = understudyProgram({ signal: interruptible() });
  for (const command of program.commands) inherit(command);
  try {
    await program.parseAsync();
  } catch (thrown) {
    if (!(thrown instanceof CommanderError)) throw thrown;
    process.exitCode = thrown.exitCode === 0 ? 0 : usageExitCode;
  }
}

/** Usage errors of every command come back here instead of ending the process with 1. */
function inherit(command: Command): void {
  command.exitOverride();
  for (const below of command.commands) inherit(below);
}

// A reader that has seen enough (`understudy events | head`) is no failure.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  process.exit(error.code === 'EPIPE' ? 0 : 1);
});

await main();
// Handles that a command left open (a gRPC channel, say) must not keep a finished command waiting.
process.exit();
