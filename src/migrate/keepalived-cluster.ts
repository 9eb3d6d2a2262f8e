import { canonical } from '../config/addresses.js';
import type { ClusterConfig } from '../config/types.js';

const mostHosts = 5;
/** TEST-NET-1 (RFC 5737): nobody's, for a person to write over. */
const madeUp = ['192.0.2.1', '192.0.2.2', '192.0.2.3'];

type Roles = Pick<ClusterConfig, 'networks' | 'personalities' | 'services'>;

/**
 * A whole cluster file around what a keepalived.conf tells of, which says little about hosts.
 *
 * @param note is told what a person has to write
 */
export function clusterAround(
  roles: Roles,
  hosts: { readonly addresses: readonly string[]; readonly interface: string },
  note: (why: string) => void,
): ClusterConfig {
  const given = hosts.addresses.slice(0, mostHosts);
  if (given.length < 2) note('no host is named: write your hosts’ names, addresses and NICs');
  const named = (given.length >= 2 ? given : madeUp).map((address, index) => ({
    ...{ name: `h${index + 1}`, address: canonical(address), interface: hosts.interface },
    ...{ pool: 'default', joins: [], capacity: null, power: null },
  }));
  const controllers = named.slice(0, named.length >= 3 ? 3 : 1);
  if (controllers.length < 3) {
    note(
      'with two hosts there is no majority: add a third machine as a controller, it may have pool: none',
    );
  }
  note('write store: {endpoints} of your etcd members');
  return {
    cluster: 'keepalived',
    controllers: controllers.map(({ name }) => name),
    timing: { heartbeatMs: 50, leaseMs: 200, clockMarginPercent: 1, announceRefreshMs: 60_000 },
    fencing: { enforce: controllers.length > 1 },
    store: { endpoints: controllers.map(({ address }) => endpointAt(address)) },
    hosts: named,
    volumes: [],
    ...roles,
  };
}

function endpointAt(address: string): string {
  return `http://${address.includes(':') ? `[${address}]` : address}:2379`;
}
