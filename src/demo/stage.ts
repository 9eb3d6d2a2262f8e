import type { ChildProcess } from 'node:child_process';
import type { ClusterConfig } from '../config/types.js';
import type { Status } from '../control/status.js';
import type { Timeline } from '../control/timeline.js';
import type { Claims } from './claims.js';

export interface Ran {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** The lab as the demonstration uses it: what a user's hands do, and places to observe from. */
export interface DemoLab {
  exec(node: string, argv: readonly string[]): Promise<Ran>;
  spawn(node: string, argv: readonly string[]): ChildProcess;
  kill(host: string): Promise<void>;
  start(host: string): Promise<void>;
  /** The file behind a LUN, readable in node `storage`. */
  backingFile(target: string, lun: number): string;
  /** Underlay address of a host, as outer frames carry it. */
  underlayAddress(host: string): string;
  /** Node with the learning edge that a network's clients hang behind, and its underlay NIC. */
  edge(network: string): {
    readonly node: string;
    readonly device: string;
    readonly underlay: string;
  };
}

/** What every part of the demonstration works with. */
export interface Stage {
  readonly lab: DemoLab;
  readonly claims: Claims;
  readonly config: ClusterConfig;
  readonly signal: AbortSignal;
  status(): Promise<Status>;
  /** Waits until `status` satisfies the condition, looked at after each change of the store. */
  until(what: string, condition: (status: Status) => boolean, timeoutMs: number): Promise<Status>;
  /** Waits until the failover of this role with this epoch or later is complete and verified. */
  failover(name: string, epoch: number, timeoutMs: number): Promise<Timeline>;
  which(service: string, client: string): Promise<{ member: string; mac: string; slot: number }>;
  say(line: string): void;
}

/** Runs a command in a node that has to succeed. */
export async function must(stage: Stage, node: string, argv: readonly string[]): Promise<string> {
  const ran = await stage.lab.exec(node, argv);
  if (ran.code === 0) return ran.stdout;
  throw new Error(`${argv.join(' ')} in ${node} ended with ${ran.code}: ${ran.stderr.trim()}`);
}

/** Whether the target refuses this login, in its own words: a probe that failed otherwise has seen nothing. */
export async function isRefused(
  { lab }: { readonly lab: Pick<DemoLab, 'exec'> },
  host: string,
  initiator: string,
  url: string,
): Promise<boolean> {
  const { code, stdout, stderr } = await lab.exec(host, ['iscsi-inq', '-i', initiator, url]);
  return code !== 0 && /log ?in/i.test(stdout + stderr);
}

export function personality(status: Status, name: string) {
  const found = status.personalities.find((one) => one.name === name);
  if (found === undefined) throw new Error(`no personality ${name} in status`);
  return found;
}

export function macOf(status: Status, name: string): string {
  return personality(status, name).interfaces[0]?.mac ?? '';
}

export function addressOf(status: Status, name: string): string {
  return personality(status, name).interfaces[0]?.addresses[0]?.split('/')[0] ?? '';
}
