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
  | { readonly kind: 'undecided'; readonly network: string; readonly hosts: readonly string[] }
  /** It would break the promises that owners of roles stand on. */
  | { readonly kind: 'refused'; readonly cause: string; readonly remedy: string };

/** A cluster file, on top of what the store holds already. */
export function decideApply(
  view: View,
  wanted: ClusterConfig,
  digest: Digest,
  randomHex: (bytes: number) => string,
): ApplyDecision {
  const refused = refusal(view, wanted);
  if (refused !== undefined) return { kind: 'refused', ...refused };
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

/**
 * Two changes must wait until nobody depends on what they take away. Controllers: a majority of the old
 * ones may go on granting a lease that a majority of the new ones votes expired. A host: nobody grants
 * it a lease any more, and nobody watches it, so what it holds would be lost with no failover.
 */
function refusal(
  view: View,
  wanted: ClusterConfig,
): { readonly cause: string; readonly remedy: string } | undefined {
  const before = view.config?.value.config;
  if (before === undefined) return undefined;
  const placed = [...view.assignments].filter(([, { value }]) => value.host !== null);
  const sorted = (names: readonly string[]) => [...names].sort().join(', ');
  if (placed.length > 0 && sorted(before.controllers) !== sorted(wanted.controllers)) {
    return {
      cause: `it names the controllers ${sorted(wanted.controllers)} instead of ${sorted(before.controllers)}, and roles are placed under the lease of those`,
      remedy:
        'apply the old controllers with no personalities and services, wait until nothing is placed, then apply this',
    };
  }
  const named = new Set(wanted.hosts.map(({ name }) => name));
  const stranded = placed.find(([, { value }]) => !named.has(value.host ?? ''));
  if (stranded === undefined) return undefined;
  const [id, { value }] = stranded;
  return {
    cause: `it no longer names host ${value.host}, which holds ${id.replace('/', ' ')}`,
    remedy: `understudy drain ${value.host}, wait until it holds nothing, then apply this`,
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
