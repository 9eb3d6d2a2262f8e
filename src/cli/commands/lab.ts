import { type Command, Option } from 'commander';
import { type Context, example, finish } from '../context.js';

/** What every command about a lab gets. */
export interface LabOptions {
  /** Name of a running lab; needed only where several run. */
  readonly lab?: string;
  readonly json: boolean;
  readonly signal: AbortSignal;
}

export interface LabHostOptions extends LabOptions {
  readonly host: string;
}

export interface PartitionOptions extends LabHostOptions {
  /** The internal network is what a partition cuts unless told otherwise. */
  readonly cut: 'internal' | 'storage' | 'all';
}

/** What src/lab/commands.ts exports: each does its work and returns the exit code. */
export interface LabCommands {
  up(options: LabOptions & { readonly file: string }): Promise<number>;
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
  hosts(lab, perform);
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
    .action((file: string, options: Flags) =>
      perform(options, (commands, common) => commands.up({ ...common, file })),
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

const hostCommands = [
  ['kill', 'a power cut: links and disks go dead, then every process; nothing is flushed'],
  ['start', 'give a host power again'],
  ['pause', 'stop every process of a host, as a hypervisor would'],
  ['resume', 'let the processes of a paused host go on'],
  ['heal', 'join what a partition cut'],
] as const;

/** Faults of one host, and their end. */
function hosts(lab: Command, perform: Perform): void {
  for (const [name, description] of hostCommands) {
    const command = flags(lab.command(name))
      .description(description)
      .argument('<host>')
      .action((host: string, options: Flags) =>
        perform(options, (commands, common) => commands[name]({ ...common, host })),
      );
    example(command, `understudy lab ${name} h1`);
  }
  const partition = flags(lab.command('partition'))
    .description('cut a host off the internal network')
    .argument('<host>')
    .addOption(new Option('--storage', 'cut the storage network instead').conflicts('all'))
    .option('--all', 'cut both')
    .action((host: string, options: Flags & { storage?: boolean; all?: boolean }) => {
      const cut = options.all ? 'all' : options.storage ? 'storage' : 'internal';
      return perform(options, (commands, common) => commands.partition({ ...common, host, cut }));
    });
  example(partition, 'understudy lab partition h1', 'understudy lab partition h1 --storage');
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
