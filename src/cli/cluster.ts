import { existsSync } from 'node:fs';
import type { ClusterConfig } from '../config/types.js';
import { type View, ViewKeeper } from '../control/view.js';
import { UnderstudyError } from '../errors.js';
import type { LabState } from '../lab/state.js';
import type { StoreSettings } from '../store/settings.js';
import type { Store } from '../store/types.js';

/** Where a command finds its cluster. */
export interface ClusterOptions {
  /** An agent's configuration file, which names the store. */
  readonly config?: string;
  /** Name of a running lab; needed only where several run. */
  readonly lab?: string;
  readonly signal: AbortSignal;
}

export interface Cluster {
  readonly name: string;
  readonly store: Store;
  /** A cluster file as it is meant here: a lab fills in what only it knows. */
  fit(config: ClusterConfig): ClusterConfig;
  /** All that the store holds now. */
  view(): Promise<View>;
  /** The leader's name; undefined for none. */
  leader(): Promise<string | undefined>;
  close(): Promise<void>;
}

export const defaultConfig = '/etc/understudy/agent.yaml';

/**
 * Opens the store of the cluster that a command is about: the one of `--config`, else of the running
 * lab, else of this host's own agent. For a lab this process moves into the lab's control node.
 */
export async function openCluster(options: ClusterOptions): Promise<Cluster> {
  const { name, store: settings, fit } = await locate(options);
  const { EtcdStore } = await import('../store/etcd.js');
  const store = new EtcdStore({
    ...settings,
    prefix: `/understudy/${name}/`,
    identity: `cli-${process.pid}`,
  });
  await store.start(options.signal);
  return {
    name,
    store,
    fit,
    view: async () => {
      const { entries } = await store.list('');
      const keeper = new ViewKeeper();
      keeper.reset(entries);
      return keeper.view;
    },
    leader: () => store.holder('leader'),
    close: () => store.stop(),
  };
}

export interface Located {
  readonly name: string;
  readonly store: StoreSettings;
  /** Of a lab. */
  readonly lab?: LabState;
  fit(config: ClusterConfig): ClusterConfig;
}

/** @throws US_NO_CLUSTER, and what finding a lab or reading a configuration throws */
export async function locate(options: ClusterOptions): Promise<Located> {
  if (options.config === undefined) {
    const { findLab } = await import('../lab/state.js');
    const lab = findLab(options.lab);
    if (lab !== undefined) {
      const { enterNetworkNamespace } = await import('../ffi/namespace.js');
      enterNetworkNamespace(lab.controlNamespace);
      const { fitToLab } = await import('../lab/fit.js');
      const fit = (config: ClusterConfig) => fitToLab(config, lab.state.plan);
      const store = { endpoints: [...lab.endpoints] };
      return { name: lab.cluster, store, lab: lab.state, fit };
    }
  }
  const path = options.config ?? defaultConfig;
  if (options.config === undefined && !existsSync(path)) {
    throw new UnderstudyError({
      code: 'US_NO_CLUSTER',
      action: 'cannot find',
      object: 'a cluster',
      cause: `no lab runs on this machine and there is no ${path}`,
      remedy: 'start a lab (understudy lab up FILE) or name an agent configuration with --config',
    });
  }
  const { readAgentConfig } = await import('../agent/config.js');
  const { cluster, store } = readAgentConfig(path);
  return { name: cluster, store, fit: (config) => config };
}

/** Opens, works, closes, whatever happens. */
export async function withCluster<T>(
  options: ClusterOptions,
  work: (cluster: Cluster) => Promise<T>,
): Promise<T> {
  const cluster = await openCluster(options);
  try {
    return await work(cluster);
  } finally {
    await cluster.close();
  }
}
