import { type Command, InvalidArgumentError } from 'commander';
import { clientAddressOf, clientAdvice } from '../client-address.js';
import {
  type CommonOptions,
  type Context,
  clusterOptions,
  example,
  finish,
  withClusterOptions,
} from '../context.js';

/** Commands about a running cluster. */
export function register(program: Command, context: Context): void {
  plan(program, context);
  apply(program, context);
  look(program, context);
  change(program, context);
  which(program, context);
  doctor(program, context);
}

function plan(program: Command, context: Context): void {
  const command = withClusterOptions(program.command('plan'))
    .description('what apply would do, host by host; exit code 3 when there is something')
    .argument('<file>', 'cluster file (YAML)')
    .action(async (file: string, options: CommonOptions) => {
      const { run } = await import('../run/plan.js');
      const common = clusterOptions(options, context);
      await finish(options.json, () => run({ ...common, file }));
    });
  example(command, 'understudy plan cluster.yaml');
}

function apply(program: Command, context: Context): void {
  const command = withClusterOptions(program.command('apply'))
    .description("make a cluster file the cluster's definition")
    .argument('<file>', 'cluster file (YAML)')
    .option('--wait', 'until every personality and service runs')
    .action(async (file: string, options: CommonOptions & { wait?: boolean }) => {
      const { run } = await import('../run/apply.js');
      const common = clusterOptions(options, context);
      await finish(options.json, () => run({ ...common, file, wait: options.wait ?? false }));
    });
  example(command, 'understudy apply cluster.yaml --wait');
}

function look(program: Command, context: Context): void {
  const status = withClusterOptions(program.command('status'))
    .description('hosts, personalities, disks, services, leader')
    .option('--watch', 'go on, and print each change')
    .action(async (options: CommonOptions & { watch?: boolean }) => {
      const { run } = await import('../run/status.js');
      const common = clusterOptions(options, context);
      await finish(options.json, () => run({ ...common, watch: options.watch ?? false }));
    });
  example(status, 'understudy status --watch');
  const events = withClusterOptions(program.command('events'))
    .description('what happened and why')
    .option('--follow', 'go on, and print each event')
    .action(async (options: CommonOptions & { follow?: boolean }) => {
      const { run } = await import('../run/events.js');
      const common = clusterOptions(options, context);
      await finish(options.json, () => run({ ...common, follow: options.follow ?? false }));
    });
  example(events, 'understudy events --follow');
  const audit = withClusterOptions(program.command('audit'))
    .description('who changed what, when and from where; the newest 1,000')
    .action(async (options: CommonOptions) => {
      const { run } = await import('../run/audit.js');
      const common = clusterOptions(options, context);
      await finish(options.json, () => run(common));
    });
  example(audit, 'understudy audit');
  const failovers = withClusterOptions(program.command('failovers'))
    .description('the record of each failover; with an ID its time line')
    .argument('[id]', 'record, e.g. web1-2')
    .action(async (id: string | undefined, options: CommonOptions) => {
      const { run } = await import('../run/failovers.js');
      const common = clusterOptions(options, context);
      await finish(options.json, () => run(id === undefined ? common : { ...common, id }));
    });
  example(failovers, 'understudy failovers', 'understudy failovers web1-2');
}

function change(program: Command, context: Context): void {
  const move = withClusterOptions(program.command('move'))
    .description('planned move: stop in good order, hand over, start')
    .argument('<personality>')
    .option('--to <host>', 'where to; left out: the best spare')
    .action(async (personality: string, options: CommonOptions & { to?: string }) => {
      const { run } = await import('../run/move.js');
      const common = { ...clusterOptions(options, context), personality };
      const { to } = options;
      await finish(options.json, () => run(to === undefined ? common : { ...common, to }));
    });
  example(move, 'understudy move web1 --to h4');
  for (const drained of [true, false]) {
    const name = drained ? 'drain' : 'undrain';
    const command = withClusterOptions(program.command(name))
      .description(
        drained
          ? 'take a host out for maintenance: what is on it moves'
          : 'let a host take part again',
      )
      .argument('<host>')
      .action(async (host: string, options: CommonOptions) => {
        const { run } = await import('../run/drain.js');
        const common = clusterOptions(options, context);
        await finish(options.json, () => run({ ...common, host, drained }));
      });
    example(command, `understudy ${name} h2`);
  }
  fenced(program, context);
}

function fenced(program: Command, context: Context): void {
  const command = withClusterOptions(program.command('fenced'))
    .description('say that a failed host is off, where its lease is not enforced')
    .argument('<host>')
    .option('--yes', 'I have made sure that it is off')
    .action(async (host: string, options: CommonOptions & { yes?: boolean }) => {
      const { run } = await import('../run/fenced.js');
      const common = clusterOptions(options, context);
      await finish(options.json, () => run({ ...common, host, yes: options.yes ?? false }));
    });
  example(command, 'understudy fenced h2 --yes');
}

function which(program: Command, context: Context): void {
  const command = withClusterOptions(program.command('which'))
    .description('the member that a client gets, and why')
    .argument('<service>')
    .argument('<client>', 'ADDRESS:PORT, IPv6 in brackets', client)
    .action(async (service: string, client: string, options: CommonOptions) => {
      const { run } = await import('../run/which.js');
      const common = clusterOptions(options, context);
      await finish(options.json, () => run({ ...common, service, client }));
    });
  example(command, 'understudy which web 10.10.0.200:40001');
}

function client(text: string): string {
  if (clientAddressOf(text) !== undefined) return text;
  throw new InvalidArgumentError(clientAdvice);
}

function doctor(program: Command, context: Context): void {
  const command = withClusterOptions(program.command('doctor'))
    .description('what on this host or in the cluster would stop a failover, and what to do')
    .option('--all', 'show also what is in order')
    .action(async (options: CommonOptions & { all?: boolean }) => {
      const { run } = await import('../run/doctor.js');
      const common = clusterOptions(options, context);
      await finish(options.json, () => run({ ...common, all: options.all ?? false }));
    });
  example(command, 'understudy doctor', 'understudy doctor --all');
}
