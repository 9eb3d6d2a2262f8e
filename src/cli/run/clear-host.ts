import { existsSync } from 'node:fs';
import { join } from 'node:path';
import pino from 'pino';
import { type Cleared, clearHost } from '../../agent/clear-host.js';
import { type AgentConfig, readAgentConfig } from '../../agent/config.js';
import { within } from '../../deadline.js';
import { UnderstudyError } from '../../errors.js';
import { BpfGuard } from '../../fencing/guard.js';
import { BpfPeerFilter } from '../../fencing/peer-filter.js';
import { LinuxNetwork } from '../../network/linux-network.js';
import { openBackend } from '../../storage/backend.js';
import { HostWorkloads } from '../../workload/host-workloads.js';
import { systemctl } from '../../workload/systemctl.js';

export interface ClearHostOptions {
  readonly json: boolean;
  /** The agent's configuration file of this host. */
  readonly config: string;
  readonly yes: boolean;
  readonly signal: AbortSignal;
}

/** A unit may take systemd's 90 s to stop, and a volume some to be written back. */
const budgetMs = 300_000;
const askSystemdMs = 10_000;

/** Takes everything of Understudy's off this host, for its removal. @throws US_CLEAR_HOST */
export async function run({ json, config: file, yes, signal }: ClearHostOptions): Promise<number> {
  const config = readAgentConfig(file);
  if (!yes) {
    throw refused(config, 'it stops every workload here', 'drain the host first, then say --yes');
  }
  if (await agentRuns(signal)) {
    throw refused(
      config,
      'its agent runs, and would make all of it anew',
      'systemctl stop understudy-agent',
    );
  }
  const cleared = await clearHost(await parts(config), within(budgetMs, signal));
  process.stdout.write(json ? `${JSON.stringify(cleared)}\n` : `${sentence(cleared)}\n`);
  return 0;
}

async function agentRuns(signal: AbortSignal): Promise<boolean> {
  if (!systemctl.booted()) return false;
  const asked = systemctl.run(
    ['show', '-P', 'ActiveState', 'understudy-agent'],
    askSystemdMs,
    signal,
  );
  return /^(active|activating|reloading)$/m.test(await asked);
}

async function parts({
  bpffs,
  cluster,
  underlayInterface,
  runDirectory,
  storageBackend,
}: AgentConfig) {
  const log = pino({ level: 'warn' }, pino.destination({ dest: 2, sync: true }));
  const peerFilter = new BpfPeerFilter({ bpffs, cluster, underlayInterface, log });
  return {
    workload: new HostWorkloads({ runDirectory, log }),
    storage: await openBackend(storageBackend, { runDirectory, log, idleProcesses: 0 }),
    network: new LinuxNetwork({ cluster, guard: new BpfGuard({ bpffs, log }), peerFilter, log }),
    removePeerFilter: () => {
      // Without pins there is no filter; to ask for one would make the folder.
      if (existsSync(join(bpffs, 'understudy'))) peerFilter.remove();
    },
  };
}

function sentence({ workloads, volumes, namespaces, networks }: Cleared): string {
  const told = [
    ['workloads', workloads],
    ['volumes', volumes],
    ['namespaces', namespaces],
    ['networks', networks],
  ] as const;
  const some = told.filter(([, names]) => names.length > 0);
  if (some.length === 0) return 'nothing of the cluster was on this host';
  return some.map(([what, names]) => `${what} taken away: ${names.join(', ')}`).join('\n');
}

function refused({ host }: AgentConfig, cause: string, remedy: string): UnderstudyError {
  const action = 'cannot clear host';
  return new UnderstudyError({ code: 'US_CLEAR_HOST', action, object: host, cause, remedy });
}
