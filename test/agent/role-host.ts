import { Announcer } from '../../src/agent/announcer.js';
import { ClusterWatch } from '../../src/agent/cluster-watch.js';
import { Forwarding } from '../../src/agent/forwarding.js';
import { Journal } from '../../src/agent/journal.js';
import type { Log } from '../../src/agent/loop.js';
import type { RoleParts } from '../../src/agent/role-parts.js';
import type { ClusterConfig } from '../../src/config/types.js';
import { configKey } from '../../src/control/keys.js';
import { MemoryBackend, MemoryStore } from '../../src/store/memory.js';
import { systemTimers } from '../../src/store/timers.js';
import { clusterConfig } from '../control/world.js';
import { IdleDispatch, IdleNetwork, IdleStorage, IdleWorkload } from './idle-adapters.js';

export const quiet: Log = { debug() {}, info() {}, warn() {}, error() {} };

/** Host h1 of a cluster whose store is in memory, with everything that roles need; no kernel. */
export async function roleHost(adapters: {
  readonly network?: IdleNetwork;
  readonly config?: ClusterConfig;
}) {
  const store = new MemoryStore(new MemoryBackend());
  const put = (key: string, value: object) =>
    store.transact({ compare: [], write: [{ kind: 'put', key, value: JSON.stringify(value) }] });
  let generation = 0;
  const apply = (config: ClusterConfig) => put(configKey, { generation: ++generation, config });
  await apply(adapters.config ?? clusterConfig());
  const stop = new AbortController();
  const watch = new ClusterWatch(store);
  watch.start(stop.signal);
  await watch.until(() => watch.known, stop.signal);
  const { network = new IdleNetwork() } = adapters;
  const clock = { bootMs: () => 0, unixMs: () => 0 };
  const timers = systemTimers();
  const host = 'h1';
  const facts = { host, underlayInterface: 'eth1', underlayAddress: '10.66.0.1' };
  const networksInUse = () => [];
  const announcer = new Announcer(network, { log: quiet, timers }, true);
  const parts: RoleParts = {
    host,
    underlayInterface: 'eth1',
    bootId: 'boot',
    store,
    watch,
    clock,
    deliveries: { heardMs: () => 0 },
    journal: new Journal({ store, clock, timers, host, log: quiet }),
    log: quiet,
    timers,
    hurry: { begin: () => () => undefined },
    network,
    storage: new IdleStorage(),
    workload: new IdleWorkload(),
    dispatch: new IdleDispatch(),
    forwarding: new Forwarding({ watch, network, facts, log: quiet, timers, networksInUse }),
    memory: { inherited: () => undefined, flush: async () => {} },
    announcer,
    namespacePath: (name) => `/run/netns/us-${name}`,
    hostMount: (personality, lun) => `/run/understudy/${personality}/${lun}`,
    until: (condition, signal) => watch.until(condition, signal),
  };
  const end = () => {
    announcer.stop();
    stop.abort();
  };
  return { parts, put, apply, end };
}
