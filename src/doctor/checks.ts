import { clusterChecks } from './cluster-checks.js';
import type { ClusterFacts, HostFacts } from './facts.js';
import { kernelChecks } from './kernel-checks.js';
import { leaseChecks } from './lease-checks.js';
import { networkChecks } from './network-checks.js';
import { dropCheck, pathChecks } from './path-checks.js';
import { storeChecks } from './store-checks.js';
import { systemChecks } from './system-checks.js';
import type { Check } from './types.js';
import { volumeChecks } from './volume-checks.js';

export const hostChecks: readonly Check<HostFacts>[] = [
  ...kernelChecks,
  ...networkChecks,
  ...systemChecks,
  ...pathChecks,
];

export const everyClusterCheck: readonly Check<ClusterFacts>[] = [
  ...storeChecks,
  ...clusterChecks,
  dropCheck,
  ...leaseChecks,
  ...volumeChecks,
];
