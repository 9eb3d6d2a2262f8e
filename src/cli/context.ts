import type { Command } from 'commander';
import { exitCodeOf, reportError } from './output.js';

/** What a command gets besides its own options. */
export interface Context {
  /** Aborted by the first SIGINT or SIGTERM. */
  readonly signal: AbortSignal;
}

export interface CommandModule {
  register(program: Command, context: Context): void;
}

/** Options that every command about a cluster has. */
export interface CommonOptions {
  readonly json?: boolean;
  readonly config?: string;
  readonly lab?: string;
}

export function withClusterOptions(command: Command): Command {
  return command
    .option('--json', 'print JSON')
    .option('--config <file>', 'find the cluster by this agent configuration')
    .option('--lab <name>', 'the running lab of this name');
}

/** The same options in the form that src/cli/run takes: absent ones are left out. */
export function clusterOptions({ json, config, lab }: CommonOptions, { signal }: Context) {
  return {
    json: json ?? false,
    signal,
    ...(config === undefined ? {} : { config }),
    ...(lab === undefined ? {} : { lab }),
  };
}

/** Runs a command's work; its number is the exit code, an error is told and has its own. */
export async function finish(json: boolean | undefined, work: () => Promise<number>) {
  try {
    process.exitCode = await work();
  } catch (thrown) {
    reportError(thrown, json ?? false);
    process.exitCode = exitCodeOf(thrown);
  }
}

/** Text under a command's --help. */
export function example(command: Command, ...lines: readonly string[]): Command {
  return command.addHelpText(
    'after',
    `\nExample:\n${lines.map((line) => `  $ ${line}`).join('\n')}`,
  );
}
