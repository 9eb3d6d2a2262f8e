import type { Command } from 'commander';
import { example } from '../context.js';

export function register(program: Command): void {
  const command = program
    .command('validate')
    .description('check a cluster file: every problem with path, line and what to write')
    .argument('<file>', 'cluster file (YAML)')
    .option('--json', 'print JSON')
    .action(async (file: string, options: { json?: boolean }) => {
      const { readClusterFile, printProblems } = await import('../cluster-file.js');
      const { reportError } = await import('../output.js');
      try {
        const parsed = readClusterFile(file);
        if (!parsed.ok) {
          printProblems(file, parsed.problems, options.json ?? false);
          process.exitCode = 2;
        } else if (options.json) process.stdout.write(`${JSON.stringify({ ok: true })}\n`);
        else process.stdout.write(`${file} is valid: ${summary(parsed.config)}\n`);
      } catch (thrown) {
        reportError(thrown, options.json ?? false);
        process.exitCode = 2;
      }
    });
  example(command, 'understudy validate cluster.yaml');
}

function summary(config: {
  readonly hosts: readonly unknown[];
  readonly personalities: readonly unknown[];
  readonly services: readonly unknown[];
}): string {
  const { hosts, personalities, services } = config;
  return `${hosts.length} hosts, ${personalities.length} personalities, ${services.length} services`;
}
