import type { ChildProcess } from 'node:child_process';
import type { ClusterConfig } from '../config/types.js';
import type { Status } from '../control/status.js';
import type { Timeline } from '../control/timeline.js';
import type { Listening } from '../observe/observers.js';
import type { Claims } from './claims.js';
import type { Pace } from './pace.js';

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
  /** Underlay address of the learning edge that a network's clients hang behind. */
  edge(network: string): { readonly underlay: string };
  /** What an interface of a node sees (`filter`: pcap-filter(7)). */
  capture(node: string, device: string, filter: string): Listening;
  /** The switch's port of each host. */
  readonly ports: readonly {
    readonly host: string;
    readonly node: string;
    readonly device: string;
  }[];
  /** Begins to watch who speaks with which vMAC, at the switch. */
  watchWire(): Wire;
}

/** Who speaks with a vMAC on the internal network: which host's cable its frames come out of. */
export interface Wire {
  /** Frames of each host since the watch began, of those that sent one after `sinceMs` of the boot clock. */
  senders(mac: string, sinceMs?: number): ReadonlyMap<string, number>;
  stop(): void;
}

/** What every part of the demonstration works with. */
export interface Stage {
  readonly lab: DemoLab;
  readonly claims: Claims;
  readonly config: ClusterConfig;
  readonly pace: Pace;
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
  return code !== 0 && /Failed to log in to target/.test(stdout + stderr);
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

/** The fabric that the lab has made a network of. */
export function fabricOf({ config }: Pick<Stage, 'config'>, network: string | undefined) {
  return config.networks.find(({ name }) => name === network)?.fabric;
}

/** Echoes from a node: whether all were answered. */
export async function reaches(
  { lab, pace }: Pick<Stage, 'lab' | 'pace'>,
  node: string,
  address: string,
  count = 2,
): Promise<boolean> {
  const rate = ['-c', String(count), '-i', '0.05', '-W', String(pace.echoSeconds)];
  return (await lab.exec(node, ['ping', '-n', ...rate, address])).code === 0;
}
