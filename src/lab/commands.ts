import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { printProblems, readBounded, readClusterFile } from '../cli/cluster-file.js';
import type {
  LabHostOptions,
  LabOptions,
  LabUpOptions,
  PartitionOptions,
  RestartOptions,
  SignalOptions,
} from '../cli/commands/lab.js';
import { table } from '../cli/output.js';
import { UnderstudyError } from '../errors.js';
import { compactEtcd, etcdLeader } from './etcd.js';
import type { NodeCommand } from './inside.js';
import { Lab } from './lab.js';
import { labStatus } from './lab-status.js';
import { parseScenario } from './scenario.js';
import { networksOf, ScenarioLab } from './scenario-lab.js';
import { runScenario, type ScenarioResult, type StepResult } from './scenario-run.js';
import { ClusterWorld } from './scenario-world.js';
import { exitCode } from './shell.js';
import { findLab } from './state.js';

/** The work behind `understudy lab …`. Each command returns its exit code. */

const usageExitCode = 2;
const noLab = { backend: 'netns', clients: [], storage: [] } as const;

/** @throws {UnderstudyError} US_LAB_NONE, US_LAB_UNKNOWN, US_LAB_AMBIGUOUS */
function running(options: LabOptions): Lab {
  const found = findLab(options.lab ?? process.env.US_LAB);
  if (found !== undefined) return Lab.attach(found.state);
  throw new UnderstudyError({
    code: 'US_LAB_NONE',
    action: 'cannot find',
    object: 'a lab',
    cause: 'none runs on this machine',
    remedy: 'start one with understudy lab up FILE',
  });
}

function say(line: string): void {
  process.stderr.write(`${line}\n`);
}

/** One line for people, or one JSON object. */
function tell(json: boolean, data: object, text: string): void {
  process.stdout.write(json ? `${JSON.stringify(data)}\n` : `${text}\n`);
}

export async function up(options: LabUpOptions): Promise<number> {
  const parsed = readClusterFile(options.file);
  if (!parsed.ok) {
    printProblems(options.file, parsed.problems, options.json);
    return usageExitCode;
  }
  const section = parsed.lab ?? noLab;
  const startedMs = performance.now();
  const lab = await Lab.up({
    name: options.lab ?? process.env.US_LAB ?? parsed.config.cluster,
    config: parsed.config,
    lab: { ...section, backend: options.backend ?? section.backend },
    signal: options.signal,
    say,
    keep: true,
  });
  const elapsedMs = Math.round(performance.now() - startedMs);
  const { name, nodes } = lab;
  tell(
    options.json,
    { lab: name, nodes, elapsedMs },
    `lab ${name} is up: ${nodes.length} nodes in ${(elapsedMs / 1_000).toFixed(1)} s`,
  );
  return 0;
}

export async function down(options: LabOptions): Promise<number> {
  const lab = running(options);
  await lab.down();
  tell(options.json, { lab: lab.name, state: 'down' }, `lab ${lab.name} is gone`);
  return 0;
}

export async function status(options: LabOptions): Promise<number> {
  const state = await labStatus(running(options));
  const rows = state.nodes.map(({ name, kind, power, links, addresses, processes }) => [
    name,
    kind,
    power,
    links.map(({ network, state: link }) => `${network} ${link}`).join(', ') || '-',
    addresses.join(' '),
    processes === null ? '' : `${processes} processes`,
  ]);
  const header = ['NODE', 'KIND', 'POWER', 'LINKS', 'ADDRESSES', ''];
  tell(options.json, state, `lab ${state.lab}\n\n${table([header, ...rows])}`);
  return 0;
}

export async function exec(
  options: LabOptions & { readonly node: string; readonly argv: readonly string[] },
): Promise<number> {
  const lab = running(options);
  const command = lab.nodes.includes(options.node)
    ? lab.command(options.node, options.argv)
    : await whereItRuns(lab, options);
  const child = lab.spawn(command, { stdio: 'inherit' });
  handSignalsTo(child);
  const [code, signal] = (await once(child, 'exit')) as [number | null, NodeJS.Signals | null];
  return exitCode(code, signal);
}

/**
 * From here on signals are the command's: a shell or a REPL in a node answers Ctrl-C itself, however
 * often. A terminal sends it to the command as well as to us; other signals only we get.
 */
function handSignalsTo(child: ChildProcess): void {
  for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
    process.removeAllListeners(name);
    process.on(name, () => {
      if (name !== 'SIGINT' || !process.stdin.isTTY) child.kill(name);
    });
  }
}

/** Asks the cluster which host has the personality. */
async function whereItRuns(
  lab: Lab,
  options: LabOptions & { readonly node: string; readonly argv: readonly string[] },
): Promise<NodeCommand> {
  const world = await ClusterWorld.open(lab, options.signal);
  try {
    return await world.command(options.node, options.argv);
  } finally {
    await world.close();
  }
}

export async function kill(options: LabHostOptions): Promise<number> {
  return onNode(options, 'off', async (lab, node) => {
    await lab.kill(node);
    return `${node} has no power`;
  });
}

export async function start(options: LabHostOptions): Promise<number> {
  return onNode(options, 'on', async (lab, node) => {
    await lab.start(node);
    return `${node} has power`;
  });
}

export async function pause(options: LabHostOptions): Promise<number> {
  return onNode(options, 'paused', async (lab, node) => {
    return `${node} is paused: ${await lab.pause(node)} processes stopped`;
  });
}

export async function resume(options: LabHostOptions): Promise<number> {
  return onNode(options, 'on', async (lab, node) => {
    return `${node} goes on: ${await lab.resume(node)} processes`;
  });
}

export async function partition(options: PartitionOptions): Promise<number> {
  const { cut, direction } = options;
  const way = direction === 'both' ? cut : `${cut}, ${direction}`;
  return onNode(options, `cut: ${way}`, async (lab, node) => {
    await lab.partition(node, networksOf(cut), direction);
    return `${node} is cut off (${way})`;
  });
}

export async function heal(options: LabHostOptions): Promise<number> {
  return onNode(options, 'healed', async (lab, node) => {
    await lab.heal(node);
    return `${node} is joined again`;
  });
}

export async function signal(options: SignalOptions): Promise<number> {
  const { process: name, send } = options;
  return onNode(options, `${name}: ${send}`, async (lab, node) => {
    lab.machine(node).daemon(name).signal(send);
    return `${name} on ${node} got ${send}`;
  });
}

export async function restart(options: RestartOptions): Promise<number> {
  const { process: name, argv } = options;
  return onNode(options, `${name}: restarted`, async (lab, node) => {
    await lab.machine(node).daemon(name).restart(argv);
    return `${name} on ${node} is started again`;
  });
}

export async function compact(options: LabOptions): Promise<number> {
  await compactEtcd(running(options));
  tell(options.json, { compacted: true }, 'etcd has forgotten its history');
  return 0;
}

export async function load(options: LabOptions & { readonly processes: number }): Promise<number> {
  const { processes } = options;
  await running(options).load(processes);
  tell(options.json, { processes }, `${processes} processes burn CPU`);
  return 0;
}

/** Does something to a node, which may be named by its office: `leader`, `etcd-leader`. */
async function onNode(
  options: LabHostOptions,
  state: string,
  action: (lab: Lab, node: string) => Promise<string>,
): Promise<number> {
  const lab = running(options);
  const host = await nodeNamed(lab, options);
  const text = await action(lab, host);
  tell(options.json, { host, state }, text);
  return 0;
}

async function nodeNamed(lab: Lab, { host, signal }: LabHostOptions): Promise<string> {
  if (host === 'etcd-leader') return etcdLeader(lab);
  if (host !== 'leader' || lab.nodes.includes(host)) return host;
  const world = await ClusterWorld.open(lab, signal);
  try {
    return await world.node(host);
  } finally {
    await world.close();
  }
}

export async function run(options: LabOptions & { readonly scenario: string }): Promise<number> {
  const scenario = parseScenario(readBounded(options.scenario), options.scenario);
  let lab: Lab;
  if (scenario.lab === undefined) lab = running(options);
  else {
    // As the scenario file says it: relative to itself.
    const file = new URL(scenario.lab, `file://${absolute(options.scenario)}`).pathname;
    const parsed = readClusterFile(file);
    if (!parsed.ok) {
      printProblems(file, parsed.problems, options.json);
      return usageExitCode;
    }
    lab = await Lab.up({
      name: options.lab ?? `${parsed.config.cluster}-${process.pid}`,
      config: parsed.config,
      lab: parsed.lab ?? noLab,
      signal: options.signal,
      say,
    });
  }
  try {
    const world = await ScenarioLab.open(lab, options.signal);
    try {
      const result = await runScenario(scenario, world, {
        nowMs: () => performance.now(),
        signal: options.signal,
        tell: (step) => say(stepLine(step)),
      });
      tell(options.json, result, summary(result, scenario.steps.length));
      return result.ok ? 0 : 1;
    } finally {
      await world.close();
    }
  } finally {
    if (scenario.lab !== undefined) await lab.down();
  }
}

function stepLine({ step, what, ok, startMs, endMs, detail }: StepResult): string {
  const took = `${endMs - startMs} ms`.padStart(9);
  return `${ok ? 'ok    ' : 'FAILED'} ${String(step).padStart(3)} ${took}  ${what}${detail === '' ? '' : `\n  ${detail}`}`;
}

function summary({ scenario, steps, judge }: ScenarioResult, planned: number): string {
  const failed = steps.some(({ ok }) => !ok);
  const story = failed
    ? `${scenario}: step ${steps.length} of ${planned} failed`
    : `${scenario}: all ${planned} steps went as expected`;
  const seen = judge.ok
    ? `the judge saw ${judge.frames} frames and no vMAC live from two ports`
    : `the judge: ${judge.faults.join('; ')}`;
  return `${story}\n${seen}`;
}

function absolute(path: string): string {
  return path.startsWith('/') ? path : `${process.cwd()}/${path}`;
}
