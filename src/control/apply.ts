import type { ClusterConfig, Fabric } from '../config/types.js';
import { allocate, type Digest } from './allocation.js';
import type { AllocationRecord, ConfigRecord, FeaturesRecord } from './records.js';
import type { View } from './view.js';

/** What `apply` writes, and against which revisions; undefined where nothing would change. */
export interface Application {
  readonly config: ConfigRecord;
  readonly allocation: AllocationRecord;
  readonly configRevision: number | undefined;
  readonly allocationRevision: number | undefined;
}

export type ApplyDecision =
  | { readonly kind: 'apply'; readonly application: Application }
  | { readonly kind: 'unchanged' }
  /** `fabric: auto` cannot be decided: these hosts have not said what their kernels can. */
  | { readonly kind: 'undecided'; readonly network: string; readonly hosts: readonly string[] };

/** A cluster file, on top of what the store holds already. */
export function decideApply(
  view: View,
  wanted: ClusterConfig,
  digest: Digest,
  randomHex: (bytes: number) => string,
): ApplyDecision {
  const decided = decideFabrics(view, wanted);
  if ('network' in decided) return { kind: 'undecided', ...decided };
  const { config, allocation } = allocate(
    decided.config,
    view.allocation?.value,
    digest,
    randomHex,
  );
  const before = view.config?.value;
  if (before !== undefined && JSON.stringify(before.config) === JSON.stringify(config)) {
    return { kind: 'unchanged' };
  }
  const record: ConfigRecord = { generation: (before?.generation ?? 0) + 1, config };
  return {
    kind: 'apply',
    application: {
      config: record,
      allocation,
      configRevision: view.config?.revision,
      allocationRevision: view.allocation?.revision,
    },
  };
}

/** `auto` takes vlan where every host's kernel has 8021q, and stays what it once became. */
function decideFabrics(
  view: View,
  config: ClusterConfig,
): { config: ClusterConfig } | { network: string; hosts: readonly string[] } {
  const networks = [];
  for (const network of config.networks) {
    if (network.fabric !== 'auto') {
      networks.push(network);
      continue;
    }
    const before = view.config?.value.config.networks.find(({ name }) => name === network.name);
    const fabric =
      before !== undefined && before.fabric !== 'auto' ? before.fabric : byFeatures(view, config);
    if (fabric === undefined) {
      const hosts = config.hosts.filter(({ name }) => !view.features.has(name));
      return { network: network.name, hosts: hosts.map(({ name }) => name) };
    }
    networks.push({ ...network, fabric });
  }
  return { config: { ...config, networks } };
}

function byFeatures(view: View, config: ClusterConfig): Fabric | undefined {
  const features: (FeaturesRecord | undefined)[] = config.hosts.map(
    ({ name }) => view.features.get(name)?.value,
  );
  if (features.includes(undefined)) return undefined;
  return features.every((found) => found?.vlan) ? 'vlan' : 'vxlan';
}
