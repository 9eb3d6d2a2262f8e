import type { Command } from 'commander';
import { compileAhead } from '../compile-ahead.js';
import { type Context, example, finish } from '../context.js';

interface Daemon {
  readonly name: 'agent' | 'pulse' | 'target';
  readonly description: string;
  run(options: { readonly configFile: string; readonly signal: AbortSignal }): Promise<void>;
}

const daemons: readonly Daemon[] = [
  {
    name: 'agent',
    description: 'the daemon that makes this host match what is assigned to it',
    run: async (options) => (await import('../../agent/main.js')).runAgent(options),
  },
  {
    name: 'pulse',
    description: 'the daemon of heartbeats and leases',
    run: async (options) => (await import('../../pulse/main.js')).runPulse(options),
  },
  {
    name: 'target',
    description: 'the daemon beside an iSCSI target that keeps its masks in step',
    run: async (options) => (await import('../../storage/target-main.js')).runTarget(options),
  },
];

export function register(program: Command, context: Context): void {
  const { signal } = context;

  for (const { name, description, run } of daemons) {
    const command = program
      .command(name)
      .description(description)
      .requiredOption('--config <file>', 'its configuration')
      .action(async ({ config }: { config: string }) => {
        compileAhead();
        await finish(false, async () => {
          await run({ configFile: config, signal });
          return 0;
        });
      });
    example(command, `understudy ${name} --config /etc/understudy/${name}.yaml`);
  }
  pulseRestart(program, context);
  clearHost(program, context);
}

const agentConfig = '/etc/understudy/agent.yaml';

function pulseRestart(program: Command, { signal }: Context): void {
  const command = program
    .command('pulse-restart')
    .description("restart this host's pulse without losing its lease, for an upgrade")
    .argument('[command...]', 'what restarts it', ['systemctl', 'restart', 'understudy-pulse'])
    .option('--config <file>', 'the agent configuration of this host', agentConfig)
    .option('--json', 'print JSON')
    .action(
      async (argv: readonly string[], { config, json }: { config: string; json?: boolean }) => {
        const { run } = await import('../run/pulse-restart.js');
        await finish(json, () => run({ config, json: json ?? false, command: argv, signal }));
      },
    );
  example(command, 'understudy pulse-restart', 'understudy pulse-restart -- service pulse restart');
}

function clearHost(program: Command, { signal }: Context): void {
  const command = program
    .command('clear-host')
    .description('take everything of Understudy off this host, for its removal')
    .option('--yes', 'this host was drained, or may lose what runs on it')
    .option('--config <file>', 'the agent configuration of this host', agentConfig)
    .option('--json', 'print JSON')
    .action(async (options: { yes?: boolean; config: string; json?: boolean }) => {
      const { run } = await import('../run/clear-host.js');
      const { config, json = false, yes = false } = options;
      await finish(json, () => run({ config, json, yes, signal }));
    });
  example(command, 'understudy clear-host --yes   # its agent is stopped');
}
