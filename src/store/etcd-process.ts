import { type ChildProcess, spawn } from 'node:child_process';
import { mkdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { messageOf, UnderstudyError } from '../errors.js';
import { EtcdMember as StoreMember } from './etcd/member.js';
import { Members } from './etcd/members.js';
import { methods } from './etcd/protocol.js';
import { systemTimers } from './timers.js';

/** One member to be started: where it listens, and how a process is started there. */
export interface MemberSpec {
  readonly name: string;
  /** Address it serves its peers on, and its clients unless they have another. */
  readonly address: string;
  readonly clientAddress?: string;
  readonly clientPort: number;
  readonly peerPort: number;
  /** Put before the command, e.g. ['nsenter', '--net=/run/netns/etcd1']. */
  readonly commandPrefix?: readonly string[];
}

export interface EtcdProcessOptions {
  readonly members: readonly MemberSpec[];
  /** Data folders are made below it and removed at stop. */
  readonly directory: string;
  readonly heartbeatMs?: number;
  readonly electionTimeoutMs?: number;
  readonly readyTimeoutMs?: number;
  /** File descriptor or 'ignore' for the members' logs. */
  readonly output?: number | 'ignore';
}

/** A member that runs, and what a fault test does to it. */
export interface RunningMember {
  readonly name: string;
  readonly endpoint: string;
  readonly pid: number;
  kill(): Promise<void>;
  pause(): void;
  resume(): void;
  restart(): void;
}

export interface RunningEtcd {
  readonly endpoints: readonly string[];
  readonly members: readonly RunningMember[];
  stop(): Promise<void>;
}

/**
 * Starts an etcd cluster of its own for a lab or a test: real members, short election time-out. It
 * does not wait until the cluster answers: see `waitForEtcd`, which may have to be called from
 * inside another network namespace.
 */
export function startEtcd(options: EtcdProcessOptions): RunningEtcd {
  const cluster = options.members
    .map(({ name, address, peerPort }) => `${name}=http://${address}:${peerPort}`)
    .join(',');
  const members = options.members.map((spec) => new EtcdMember(spec, cluster, options));
  return {
    endpoints: members.map(({ endpoint }) => endpoint),
    members,
    stop: async () => {
      await Promise.all(members.map((member) => member.kill()));
      for (const { name } of options.members) {
        rmSync(join(options.directory, name), { recursive: true, force: true });
      }
    },
  };
}

class EtcdMember implements RunningMember {
  readonly name: string;
  readonly endpoint: string;
  readonly #arguments: readonly string[];
  readonly #output: number | 'ignore';
  #child: ChildProcess;

  constructor(spec: MemberSpec, cluster: string, options: EtcdProcessOptions) {
    const { name, address, clientPort, peerPort } = spec;
    const data = join(options.directory, name);
    mkdirSync(data, { recursive: true, mode: 0o700 });
    const client = `http://${spec.clientAddress ?? address}:${clientPort}`;
    const peer = `http://${address}:${peerPort}`;
    this.name = name;
    this.endpoint = client;
    this.#output = options.output ?? 'ignore';
    this.#arguments = [
      ...(spec.commandPrefix ?? []),
      'etcd',
      ...['--name', name, '--data-dir', data],
      ...['--listen-client-urls', client, '--advertise-client-urls', client],
      ...['--listen-peer-urls', peer, '--initial-advertise-peer-urls', peer],
      ...['--initial-cluster', cluster, '--initial-cluster-state', 'new'],
      ...['--heartbeat-interval', String(options.heartbeatMs ?? 40)],
      ...['--election-timeout', String(options.electionTimeoutMs ?? 200)],
      ...['--log-level', 'warn', '--logger', 'zap'],
    ];
    this.#child = this.#spawn();
  }

  get pid(): number {
    return this.#child.pid ?? 0;
  }

  async kill(): Promise<void> {
    const child = this.#child;
    if (child.exitCode !== null || child.signalCode !== null || child.pid === undefined) return;
    const gone = new Promise<void>((resolve) => child.once('exit', () => resolve()));
    child.kill('SIGKILL');
    await gone;
  }

  pause(): void {
    this.#child.kill('SIGSTOP');
  }

  resume(): void {
    this.#child.kill('SIGCONT');
  }

  restart(): void {
    this.#child = this.#spawn();
  }

  #spawn(): ChildProcess {
    const [command = 'etcd', ...rest] = this.#arguments;
    const child = spawn(command, rest, {
      // Nothing else: etcd would take settings from ETCD_* variables.
      env: { PATH: process.env.PATH },
      stdio: ['ignore', this.#output, this.#output],
    });
    child.on('error', () => undefined); // told by waitForEtcd, which nobody answers then
    return child;
  }
}

/** Resolves when a linearizable read is answered, so a leader is there. */
export async function waitForEtcd(
  endpoints: readonly string[],
  timeoutMs: number,
  signal?: AbortSignal,
): Promise<void> {
  const members = new Members(endpoints, systemTimers(), (endpoint) => new StoreMember(endpoint));
  const request = { key: Buffer.from('ready'), count_only: true };
  try {
    await members.call(
      { action: 'cannot reach', object: 'etcd' },
      { budgetMs: timeoutMs, signals: signal === undefined ? [] : [signal] },
      (member, deadlineMs) => member.call(methods.range, request, deadlineMs),
    );
  } catch (thrown) {
    throw new UnderstudyError({
      code: 'US_ETCD_START',
      action: 'cannot start etcd at',
      object: endpoints.join(', '),
      cause: messageOf(thrown),
      remedy: 'install etcd-server (npm run setup) and see its log',
    });
  } finally {
    members.close();
  }
}
