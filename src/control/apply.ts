import type { ClusterConfig, Fabric } from '../config/types.js';
import { allocate, type Digest } from './allocation.js';
import { decideControllers, type Refusal } from './controllers-apply.js';
import { changesFenceInUse } from './fence-change.js';
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
  | ({ readonly kind: 'refused' } & Refusal);

/** A cluster file, on top of what the store holds already. */
export function decideApply(
  view: View,
  wanted: ClusterConfig,
  digest: Digest,
  randomHex: (bytes: number) => string,
): ApplyDecision {
  const stranded = strandedHost(view, wanted);
  if (stranded !== undefined) return { kind: 'refused', ...stranded };
  const refenced = changesFenceInUse(view, wanted);
  if (refenced !== undefined) return { kind: 'refused', ...refenced };
  const decidedControllers = decideControllers(view, wanted);
  if ('code' in decidedControllers) return { kind: 'refused', ...decidedControllers };
  const { controllers } = decidedControllers;
  const decided = decideFabrics(view, wanted);
  if ('network' in decided) return { kind: 'undecided', ...decided };
  const { config, allocation } = allocate(
    decided.config,
    view.allocation?.value,
    digest,
    randomHex,
  );
  const before = view.config?.value;
  const same = (a: unknown, b: unknown) => JSON.stringify(a) === JSON.stringify(b);
  if (same(before?.config, config) && same(before?.controllers, controllers)) {
    return { kind: 'unchanged' };
  }
  const record: ConfigRecord = {
    generation: (before?.generation ?? 0) + 1,
    config,
    ...(controllers === undefined ? {} : { controllers }),
  };
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

/** Nobody grants such a host a lease any more, or watches it: what it holds would have no failover. */
function strandedHost(view: View, wanted: ClusterConfig): Refusal | undefined {
  const named = new Set(wanted.hosts.map(({ name }) => name));
  const stranded = [...view.assignments].find(
    ([, { value }]) => value.host !== null && !named.has(value.host),
  );
  if (view.config === undefined || stranded === undefined) return undefined;
  const [id, { value }] = stranded;
  return {
    code: 'US_APPLY_REFUSED',
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
