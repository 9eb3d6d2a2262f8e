import { randomBytes } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { release } from 'node:os';
import { join } from 'node:path';
import pino from 'pino';
import { ApiServer } from '../api/server.js';
import { BpfDispatcher } from '../dispatch/bpf-dispatcher.js';
import { Dispatchers } from '../dispatch/dispatchers.js';
import { NftDispatcher, nftNotes } from '../dispatch/nft-dispatcher.js';
import { ScriptChecks } from '../dispatch/script-check.js';
import { messageOf } from '../errors.js';
import { FenceAgents } from '../fencing/fence-agent.js';
import { BpfGuard } from '../fencing/guard.js';
import { BpfPeerFilter } from '../fencing/peer-filter.js';
import { bootId, bootMs } from '../ffi/clock.js';
import { refusesHttp } from '../ffi/http-probe.js';
import { favour, goFirst } from '../ffi/scheduling.js';
import { refusesTcp } from '../ffi/tcp-probe.js';
import { LinuxNetwork } from '../network/linux-network.js';
import { PulseClient } from '../pulse/client.js';
import { ClusterKeys } from '../pulse/keys.js';
import { serve } from '../serve.js';
import { openBackend } from '../storage/backend.js';
import { portalsFailure } from '../storage/portal-probe.js';
import { EtcdStore } from '../store/etcd.js';
import { systemTimers } from '../store/timers.js';
import { ownVersion } from '../version.js';
import { HostWorkloads } from '../workload/host-workloads.js';
import { Agent } from './agent.js';
import type { AgentApiSource } from './api-source.js';
import { type AgentConfig, readAgentConfig } from './config.js';
import { TlsMemoryWire } from './memory-wire.js';
import { startRemoteApi } from './remote-api.js';

const namespaceDirectory = '/run/netns';

/** The daemon `understudy agent`: real parts put together, until the signal aborts. */
export async function runAgent(options: {
  readonly configFile: string;
  readonly signal: AbortSignal;
}): Promise<void> {
  const config = readAgentConfig(options.configFile);
  const log = pino({ base: { host: config.host } }, pino.destination({ dest: 2, sync: true }));
  try {
    favour(process.pid);
  } catch (thrown) {
    log.warn(`no priority over ordinary work (${messageOf(thrown)}); going on without`);
  }
  const guard = new BpfGuard({ bpffs: config.bpffs, log });
  const pulse = new PulseClient({ path: config.pulseSocket });
  const dispatch = new Dispatchers(
    new BpfDispatcher({ bpffs: config.bpffs, namespaceDirectory, log }),
    new NftDispatcher({
      namespaceDirectory,
      stateDirectory: nftNotes(config.runDirectory),
      log,
    }),
    log,
  );
  const store = new EtcdStore({
    ...config.store,
    prefix: `/understudy/${config.cluster}/`,
    identity: config.host,
    log,
  });
  const { flowsPort } = config;
  const memoryWire =
    flowsPort === false
      ? undefined
      : new TlsMemoryWire({
          name: config.host,
          host: config.underlayAddress,
          port: flowsPort,
          log,
          keys: () => ClusterKeys.of(config.keyFile),
        });
  const agent = new Agent({
    facts: {
      host: config.host,
      underlayInterface: config.underlayInterface,
      underlayAddress: config.underlayAddress,
    },
    pulsePort: config.pulsePort,
    bootId: bootId(),
    bootToken: bootToken(config.runDirectory),
    features: {
      vlan: hasVlan(),
      kernel: release(),
      version: ownVersion(),
      controllerSets: true,
      tellsLease: true,
      tellsReady: true,
      ...(flowsPort === false ? {} : { flowsPort }),
    },
    announce: config.announce,
    store,
    pulse,
    network: network(config, guard, log),
    storage: await openBackend(config.storageBackend, { runDirectory: config.runDirectory, log }),
    workload: new HostWorkloads({ runDirectory: config.runDirectory, log }),
    dispatch,
    ...(memoryWire === undefined ? {} : { memoryWire }),
    power: new FenceAgents(),
    maps: guard,
    probe: (path, address, port, timeoutMs, request) =>
      request === undefined
        ? refusesTcp(path, address, port, timeoutMs)
        : refusesHttp(path, address, port, request, timeoutMs),
    script: new ScriptChecks().ask,
    portalsFailure,
    clock: { bootMs, unixMs: () => Date.now() },
    timers: systemTimers(bootMs),
    log,
    goFirst,
    namespacePath: (name) => join(namespaceDirectory, `us-${name}`),
    hostMount: (personality, lun) => join(config.runDirectory, personality, String(lun)),
  });
  await agent.start(options.signal);
  pulse.start(options.signal);
  const source = agent.apiSource(ownVersion());
  const api = await startApi(config, source, log);
  const remoteApi = await startRemoteApi(config, source, store, log);
  await serve(options.signal, { refused: (text) => log.warn(text) });
  await Promise.all([api?.stop(), remoteApi?.stop()]);
  await agent.stop();
}

/** The agent's work goes on without its API. */
async function startApi(
  { api: address }: AgentConfig,
  source: AgentApiSource,
  log: pino.Logger,
): Promise<ApiServer | undefined> {
  if (address === false) return undefined;
  const api = new ApiServer(source, address);
  try {
    const port = await api.start();
    log.info({ bind: address.bind, port }, 'HTTP API');
    return api;
  } catch (thrown) {
    log.error({ error: thrown }, messageOf(thrown));
    return undefined;
  }
}

function network(config: AgentConfig, guard: BpfGuard, log: pino.Logger): LinuxNetwork {
  const { bpffs, cluster, underlayInterface } = config;
  const peerFilter = new BpfPeerFilter({ bpffs, cluster, underlayInterface, log });
  return new LinuxNetwork({ cluster, guard, peerFilter, log });
}

/**
 * What tells one boot of this host from the next. /run is empty after a boot; the kernel's own
 * boot id would be the same for hosts that are namespaces of one kernel.
 */
function bootToken(runDirectory: string): string {
  const path = join(runDirectory, 'boot-token');
  if (existsSync(path)) return readFileSync(path, 'utf8').trim();
  mkdirSync(runDirectory, { recursive: true, mode: 0o755 });
  const token = randomBytes(16).toString('hex');
  writeFileSync(path, `${token}\n`, { mode: 0o600 });
  return token;
}

/** Whether 8021q is in the kernel or can be loaded: its folder in /proc/net comes with it. */
function hasVlan(): boolean {
  if (existsSync('/proc/net/vlan')) return true;
  const modules = `/lib/modules/${release()}/modules.dep`;
  return existsSync(modules) && /\/8021q\.ko/.test(readFileSync(modules, 'utf8'));
}
