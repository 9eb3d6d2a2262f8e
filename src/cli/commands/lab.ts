import { Argument, type Command, InvalidArgumentError, Option } from 'commander';
import { type DaemonSignal, daemonSignals } from '../../lab/daemon-signals.js';
import { type Context, example, finish } from '../context.js';

/** What every command about a lab gets. */
export interface LabOptions {
  /** Name of a running lab; needed only where several run. */
  readonly lab?: string;
  readonly json: boolean;
  readonly signal: AbortSignal;
}

export interface LabUpOptions extends LabOptions {
  readonly file: string;
  /** Instead of the file's own. */
  readonly backend?: 'netns' | 'vm';
}

export interface LabHostOptions extends LabOptions {
  readonly host: string;
}

export interface PartitionOptions extends LabHostOptions {
  /** The internal network is what a partition cuts unless told otherwise. */
  readonly cut: 'internal' | 'storage' | 'all';
  /** As the node sees it: `in`: it hears nothing, `out`: nothing of it is heard. */
  readonly direction: 'both' | 'in' | 'out';
}

export interface SignalOptions extends LabHostOptions {
  readonly process: string;
  readonly send: DaemonSignal;
}

export interface RestartOptions extends LabHostOptions {
  readonly process: string;
  /** What runs from now on instead. */
  readonly argv?: readonly string[];
}

/** What src/lab/commands.ts exports: each does its work and returns the exit code. */
export interface LabCommands {
  up(options: LabUpOptions): Promise<number>;
  down(options: LabOptions): Promise<number>;
  status(options: LabOptions): Promise<number>;
  /** Standard streams and exit code of the command pass through. */
  exec(
    options: LabOptions & { readonly node: string; readonly argv: readonly string[] },
  ): Promise<number>;
  kill(options: LabHostOptions): Promise<number>;
  start(options: LabHostOptions): Promise<number>;
  pause(options: LabHostOptions): Promise<number>;
  resume(options: LabHostOptions): Promise<number>;
  partition(options: PartitionOptions): Promise<number>;
  heal(options: LabHostOptions): Promise<number>;
  signal(options: SignalOptions): Promise<number>;
  restart(options: RestartOptions): Promise<number>;
  compact(options: LabOptions): Promise<number>;
  load(options: LabOptions & { readonly processes: number }): Promise<number>;
  run(options: LabOptions & { readonly scenario: string }): Promise<number>;
}

interface Flags {
  readonly json?: boolean;
  readonly lab?: string;
}

type Work = (commands: LabCommands, common: LabOptions) => Promise<number>;

export function register(program: Command, context: Context): void {
  const lab = program
    .command('lab')
    .description('a data centre of network namespaces on this machine, from a cluster file')
    .enablePositionalOptions();
  example(
    lab,
    'understudy lab up examples/lab.yaml',
    'understudy lab kill h1',
    'understudy lab down',
  );
  const perform = (flags: Flags, work: Work) =>
    finish(flags.json, async () => {
      const { json = false, lab: name } = flags;
      const common = { json, signal: context.signal, ...(name === undefined ? {} : { lab: name }) };
      return work(await import('../../lab/commands.js'), common);
    });
  whole(lab, perform);
  nodes(lab, perform);
  daemons(lab, perform);
  store(lab, perform);
  inside(lab, perform);
}

type Perform = (flags: Flags, work: Work) => Promise<void>;

function flags(command: Command): Command {
  return command
    .option('--json', 'print JSON')
    .option('--lab <name>', 'the running lab of this name; left out: the only one');
}

/** Commands about the lab as a whole. */
function whole(lab: Command, perform: Perform): void {
  const up = flags(lab.command('up'))
    .description('build and start everything that a file describes, in its lab: section too')
    .argument('<file>', 'cluster file with a lab: section')
    .addOption(
      new Option(
        '--backend <kind>',
        "what a host is; left out: as the file's lab.backend says",
      ).choices(['netns', 'vm']),
    )
    .action((file: string, { backend, ...options }: Flags & Pick<LabUpOptions, 'backend'>) =>
      perform(options, (commands, common) =>
        commands.up({ ...common, file, ...(backend === undefined ? {} : { backend }) }),
      ),
    );
  example(up, 'understudy lab up examples/lab.yaml');
  const down = flags(lab.command('down'))
    .description('end a lab and remove all that it made, also after a crash')
    .action((options: Flags) => perform(options, (commands, common) => commands.down(common)));
  example(down, 'understudy lab down');
  const status = flags(lab.command('status'))
    .description("the lab's nodes: power, links, processes")
    .action((options: Flags) => perform(options, (commands, common) => commands.status(common)));
  example(status, 'understudy lab status --json');
  const run = flags(lab.command('run'))
    .description('run a scenario: steps with expectations; the result says which held')
    .argument('<scenario>', 'scenario file (YAML)')
    .action((scenario: string, options: Flags) =>
      perform(options, (commands, common) => commands.run({ ...common, scenario })),
    );
  example(run, 'understudy lab run scenario.yaml --json');
}

const nodeArgument = 'host or etcd node; leader and etcd-leader are who that is now';

const nodeCommands = [
  ['kill', 'a power cut: links and disks go dead, then every process; nothing is flushed'],
  ['start', 'give a node power again'],
  ['pause', 'stop every process of a node, as a hypervisor would'],
  ['resume', 'let the processes of a paused node go on'],
  ['heal', 'join what a partition cut'],
] as const;

/** Faults of one node, and their end. */
function nodes(lab: Command, perform: Perform): void {
  for (const [name, description] of nodeCommands) {
    const command = flags(lab.command(name))
      .description(description)
      .argument('<node>', nodeArgument)
      .action((host: string, options: Flags) =>
        perform(options, (commands, common) => commands[name]({ ...common, host })),
      );
    example(command, `understudy lab ${name} h1`);
  }
  const partition = flags(lab.command('partition'))
    .description('cut a node off the internal network')
    .argument('<node>', nodeArgument)
    .addOption(new Option('--storage', 'cut the storage network instead').conflicts('all'))
    .option('--all', 'cut both')
    .addOption(new Option('--in', 'one way: the node hears nothing').conflicts('out'))
    .option('--out', 'one way: nothing of the node is heard')
    .action((host: string, options: Flags & PartitionFlags) => {
      const cut = options.all ? 'all' : options.storage ? 'storage' : 'internal';
      const direction = options.in ? 'in' : options.out ? 'out' : 'both';
      return perform(options, (commands, common) =>
        commands.partition({ ...common, host, cut, direction }),
      );
    });
  example(
    partition,
    'understudy lab partition h1',
    'understudy lab partition h1 --storage',
    'understudy lab partition leader --out',
  );
}

interface PartitionFlags {
  readonly storage?: boolean;
  readonly all?: boolean;
  readonly in?: boolean;
  readonly out?: boolean;
}

/** Faults of one process. */
function daemons(lab: Command, perform: Perform): void {
  const signal = flags(lab.command('signal'))
    .description('send a signal to one daemon: pulse, agent, target, tgtd, etcd')
    .argument('<node>', nodeArgument)
    .argument('<daemon>', 'pulse or agent of a host, target or tgtd of storage, etcd')
    .addArgument(new Argument('<signal>', 'what to send').choices(daemonSignals))
    .action((host: string, process: string, send: DaemonSignal, options: Flags) =>
      perform(options, (commands, common) => commands.signal({ ...common, host, process, send })),
    );
  example(signal, 'understudy lab signal h1 pulse KILL');
  const restart = flags(lab.command('restart'))
    .description('end a daemon in good order and start it again, or another build of it')
    .argument('<node>', nodeArgument)
    .argument('<daemon>', 'pulse or agent of a host, target of storage')
    .argument('[command...]', 'what runs instead from now on, after --')
    .action((host: string, process: string, argv: string[], options: Flags) =>
      perform(options, (commands, common) =>
        commands.restart({ ...common, host, process, ...(argv.length === 0 ? {} : { argv }) }),
      ),
    );
  example(restart, 'understudy lab restart h1 agent');
}

/** Faults of what all nodes share. */
function store(lab: Command, perform: Perform): void {
  const compact = flags(lab.command('compact'))
    .description('let etcd forget its history up to now')
    .action((options: Flags) => perform(options, (commands, common) => commands.compact(common)));
  example(compact, 'understudy lab compact');
  const load = flags(lab.command('load'))
    .description('burn CPU with so many processes; 0 ends them')
    .argument('<processes>', 'how many', (text) => {
      if (/^\d{1,3}$/.test(text)) return Number(text);
      throw new InvalidArgumentError('write a number from 0 to 999.');
    })
    .action((processes: number, options: Flags) =>
      perform(options, (commands, common) => commands.load({ ...common, processes })),
    );
  example(load, 'understudy lab load 4', 'understudy lab load 0');
}

/** The command's own options are its own: nothing after NODE is read by us. */
function inside(lab: Command, perform: Perform): void {
  const exec = lab
    .command('exec')
    .description('run a command on a host, a client, or where a personality is now')
    .argument('<node>', 'host, client or personality')
    .argument('<command...>', 'what to run, with its arguments')
    .option('--lab <name>', 'the running lab of this name; left out: the only one')
    .passThroughOptions()
    .action((node: string, rest: string[], options: Flags) => {
      // commander hands on the `--` that separates NODE from the command, or there is none.
      const argv = rest[0] === '--' ? rest.slice(1) : rest;
      if (argv.length === 0) exec.error('error: no command to run is given');
      return perform(options, (commands, common) => commands.exec({ ...common, node, argv }));
    });
  example(exec, 'understudy lab exec c1 -- ping -c 3 10.10.0.11');
}
