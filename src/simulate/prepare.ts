import { createHash } from 'node:crypto';
import type { ClusterConfig } from '../config/types.js';
import { allocate } from '../control/allocation.js';
import type { AllocationRecord } from '../control/records.js';
import type { Random } from './random.js';

/** What vMACs are derived by. */
export const digest = (text: string): Uint8Array => createHash('sha256').update(text).digest();

/**
 * A cluster file as `apply` would write it: addresses that a lab would fill in, MACs, seeds. What
 * fabric `auto` becomes makes no difference here.
 */
export function prepare(
  config: ClusterConfig,
  random: Random,
): { readonly config: ClusterConfig; readonly allocation: AllocationRecord } {
  const complete: ClusterConfig = {
    ...config,
    hosts: config.hosts.map((host, index) => ({
      ...host,
      address: host.address || `192.0.2.${index + 1}`,
    })),
    networks: config.networks.map((network) => ({
      ...network,
      fabric: network.fabric === 'auto' ? 'vxlan' : network.fabric,
    })),
  };
  return allocate(complete, undefined, digest, (bytes) => random.bytes(bytes).toString('hex'));
}
