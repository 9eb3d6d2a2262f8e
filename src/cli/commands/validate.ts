import type { Command } from 'commander';
import type { ClusterConfig } from '../../config/types.js';
import { example, finish } from '../context.js';

export function register(program: Command): void {
  const command = program
    .command('validate')
    .description('check a cluster file: every problem with path, line and what to write')
    .argument('<file>', 'cluster file (YAML)')
    .option('--json', 'print JSON')
    .action((file: string, options: { json?: boolean }) =>
      finish(options.json, async () => {
        const { readClusterFile, printProblems, printWarnings } = await import(
          '../cluster-file.js'
        );
        const parsed = readClusterFile(file);
        if (!parsed.ok) {
          printProblems(file, parsed.problems, options.json ?? false);
          return 2;
        }
        const { config, warnings } = parsed;
        if (options.json) {
          process.stdout.write(
            `${JSON.stringify({ ok: true, cluster: config.cluster, warnings })}\n`,
          );
        } else {
          printWarnings(file, warnings);
          process.stdout.write(`${file} is valid: ${summary(config)}\n`);
        }
        return 0;
      }),
    );
  example(command, 'understudy validate cluster.yaml');
}

function summary({
  hosts,
  personalities,
  services,
}: Pick<ClusterConfig, 'hosts' | 'personalities' | 'services'>): string {
  return [
    count(hosts, 'host', 'hosts'),
    count(personalities, 'personality', 'personalities'),
    count(services, 'service', 'services'),
  ].join(', ');
}

function count(list: readonly unknown[], one: string, several: string): string {
  return `${list.length} ${list.length === 1 ? one : several}`;
}
