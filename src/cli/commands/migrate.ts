import type { Command } from 'commander';
import {
  type CommonOptions,
  type Context,
  clusterOptions,
  example,
  finish,
  withClusterOptions,
} from '../context.js';

/** Definitions out of a cluster, and into one from elsewhere. Nothing here changes a cluster. */
export function register(program: Command, context: Context): void {
  const exported = withClusterOptions(program.command('export'))
    .description("the cluster's definition as a cluster file, with every vMAC that was allocated")
    .action(async (options: CommonOptions) => {
      const { run } = await import('../run/export.js');
      await finish(options.json, () => run(clusterOptions(options, context)));
    });
  example(exported, 'understudy export > backup.yaml');

  const imported = program
    .command('import')
    .description('make a cluster file out of something else; look at it, then plan and apply it');
  example(
    imported,
    'understudy import site backup.yaml --map site-b.yaml > shop-b.yaml',
    'understudy import keepalived /etc/keepalived/keepalived.conf > shop.yaml',
  );
  const site = imported
    .command('site')
    .description('a definition for another site: other addresses, VLANs and LUNs by a map')
    .argument('<file>', 'cluster file, as export writes it')
    .requiredOption('--map <file>', 'what becomes what (YAML)')
    .option('--json', 'print JSON')
    .action(async (file: string, { map, json = false }: { map: string; json?: boolean }) => {
      const { importSite } = await import('../run/import.js');
      await finish(json, () => importSite({ file, map, json }));
    });
  example(site, 'understudy import site backup.yaml --map site-b.yaml > shop-b.yaml');
  const keepalived = imported
    .command('keepalived')
    .description('a keepalived.conf; tells of each line what could not be carried over')
    .argument('<file>', 'keepalived.conf')
    .option('--json', 'print JSON')
    .action(async (file: string, { json = false }: { json?: boolean }) => {
      const { importKeepalived } = await import('../run/import.js');
      await finish(json, () => importKeepalived({ file, json }));
    });
  example(keepalived, 'understudy import keepalived /etc/keepalived/keepalived.conf > shop.yaml');
}
