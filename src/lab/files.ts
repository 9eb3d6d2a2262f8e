import { mkdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { stringify } from 'yaml';
import { keepRunning } from './init-scripts.js';
import type { LabHost, LabPlan } from './plan.js';

/** What the nodes of a lab run, each an argv without its `--config FILE`. */
export interface LabPrograms {
  readonly agent: readonly string[];
  readonly pulse: readonly string[];
  readonly target: readonly string[];
}

/** What its nodes run, and with which settings. */
export interface LabSoftware {
  readonly programs: LabPrograms;
  readonly agentSettings: Readonly<Record<string, unknown>>;
  readonly hostInit: string;
}

/** A file in the lab's folder. */
export interface LabFile {
  readonly path: string;
  readonly content: string;
}

const pulsePort = 7411;

/** Everything that the lab's first processes and daemons read. */
export function labFiles(
  plan: LabPlan,
  directory: string,
  key: string,
  { programs, agentSettings, hostInit }: LabSoftware,
): readonly LabFile[] {
  const target = `${directory}/target.yaml`;
  return [
    { path: 'host-init', content: hostInit },
    { path: 'keep-running', content: keepRunning },
    { path: 'target.yaml', content: targetSettings(plan, directory) },
    { path: 'run/target.command', content: argvText([...programs.target, '--config', target]) },
    ...plan.hosts.flatMap((host) => hostFiles(plan, host, key, programs, agentSettings)),
  ];
}

function hostFiles(
  plan: LabPlan,
  host: LabHost,
  key: string,
  programs: LabPrograms,
  agentSettings: Readonly<Record<string, unknown>>,
): readonly LabFile[] {
  const { config } = plan;
  const agent = {
    host: host.name,
    cluster: config.cluster,
    store: { endpoints: config.store.endpoints },
    pulsePort,
    underlayInterface: 'eth1',
    underlayAddress: host.internal,
    ...agentSettings,
  };
  const pulse = { bind: host.internal, port: pulsePort };
  const folder = `hosts/${host.name}`;
  const started = (name: 'agent' | 'pulse') =>
    argvText([...programs[name], '--config', `/etc/understudy/${name}.yaml`]);
  return [
    { path: `${folder}/agent.yaml`, content: stringify(agent) },
    { path: `${folder}/pulse.yaml`, content: stringify(pulse) },
    { path: `${folder}/cluster.key`, content: `${key}\n` },
    { path: `${folder}/agent.command`, content: started('agent') },
    { path: `${folder}/pulse.command`, content: started('pulse') },
  ];
}

/** Each word ended by NUL, which no word can hold. */
export function argvText(argv: readonly string[]): string {
  return argv.map((word) => `${word}\0`).join('');
}

function targetSettings(plan: LabPlan, directory: string): string {
  const { config } = plan;
  const tgt = { targets: 'tgt', controlPort: 1, ipcSocket: `${directory}/tgt/socket` };
  return stringify({
    cluster: config.cluster,
    store: { endpoints: config.store.endpoints },
    ...(plan.targetKind === 'lio' ? { targets: 'lio' } : tgt),
    stateDirectory: `${directory}/tgt`,
  });
}

/** Writes into the lab's folder from outside, by way of its first process. */
export function writeLabFiles(folderFromOutside: string, files: readonly LabFile[]): void {
  for (const { path, content } of files) {
    const whole = join(folderFromOutside, path);
    mkdirSync(dirname(whole), { recursive: true, mode: 0o700 });
    writeFileSync(whole, content, { mode: 0o600 });
  }
}
