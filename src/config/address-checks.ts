import { canonical, isBroadcast, isSubnetAddress, parseAddress, parsePrefix } from './addresses.js';
import { doubles, type Fault, type Path } from './faults.js';
import { subnetOf } from './network-checks.js';
import type { ClusterFile } from './schema.js';

/** An address that somebody wants on a virtual LAN. */
interface Claim {
  readonly text: string;
  readonly network: string;
  readonly path: Path;
  /** NICs have a prefix length, shared addresses have none. */
  readonly withLength: boolean;
  /** Routers send it to next hops: it is on no NIC of the LAN. */
  readonly routed?: boolean;
}

interface Claimant {
  readonly addresses: readonly string[];
  readonly network: string;
  readonly path: Path;
  readonly withLength: boolean;
  /** Routers send it to next hops: it is on no NIC of the LAN. */
  readonly routed?: boolean;
}

function claimants(file: ClusterFile): readonly Claimant[] {
  return [
    ...file.personalities.flatMap(({ networks }, index) =>
      networks.map(({ address: addresses, network }, at) => ({
        addresses,
        network,
        path: ['personalities', index, 'networks', at, 'address'],
        withLength: true,
      })),
    ),
    ...file.services.map(({ address: addresses, network, dispatchers }, index) => ({
      addresses,
      network,
      path: ['services', index, 'address'],
      withLength: false,
      ...(dispatchers === undefined ? {} : { routed: true }),
    })),
    ...file.services.flatMap(({ dispatchers = [], network }, index) =>
      dispatchers.map((addresses, at) => ({
        addresses,
        network,
        path: ['services', index, 'dispatchers', at],
        withLength: false,
      })),
    ),
    ...(file.lab?.clients ?? []).map(({ address: addresses, network }, index) => ({
      addresses,
      network,
      path: ['lab', 'clients', index, 'address'],
      withLength: true,
    })),
  ];
}

export function checkAddresses(file: ClusterFile): readonly Fault[] {
  const all = claimants(file);
  const claims = all.flatMap(({ addresses, ...rest }) =>
    addresses.map((text): Claim => ({ text, ...rest })),
  );
  return [
    ...claims.flatMap((claim) => checkClaim(claim, file)),
    ...all.flatMap(({ addresses, path }): Fault[] => {
      const [first, second] = addresses.map((text) => text.includes(':'));
      if (second === undefined || first !== second) return [];
      const what = 'two addresses of one address family';
      return [{ path, what, write: 'write one IPv4 and one IPv6 address' }];
    }),
    ...doubles(
      claims.flatMap(({ text, path }) => {
        const address = text.split('/')[0] ?? '';
        if (parseAddress(address) === undefined) return [];
        return [{ value: canonical(address), path }];
      }),
      (address) => `${address} is given twice`,
      'give each its own address',
    ),
  ];
}

function checkClaim(
  { text, network: name, path, withLength, routed = false }: Claim,
  file: ClusterFile,
): Fault[] {
  const network = file.networks.find((found) => found.name === name);
  if (network === undefined) return []; // told elsewhere
  const prefix = withLength ? parsePrefix(text) : undefined;
  const address = withLength ? prefix?.bytes : parseAddress(text);
  if (address === undefined) {
    const write = withLength ? 'write e.g. 10.10.0.11/24' : 'write e.g. 10.10.0.100';
    const what = withLength
      ? `${text} is no address with a prefix length`
      : `${text} is no address (it has no prefix length here)`;
    return [{ path, what, write }];
  }
  const subnet = subnetOf(network, address);
  if (routed) {
    if (subnet === undefined) return [];
    const what = `${text} is inside network ${name}: nobody would answer ARP for it`;
    const write = 'write an address that routers send to the dispatchers, outside of the network';
    return [{ path, what, write }];
  }
  if (subnet === undefined) {
    const write = `write an address in ${network.subnet.join(' or ')}`;
    return [{ path, what: `${text} is outside network ${name}`, write }];
  }
  if (prefix !== undefined && prefix.bits !== subnet.bits) {
    const what = `${text} has another length than its subnet`;
    return [{ path, what, write: `write ${text.split('/')[0]}/${subnet.bits}` }];
  }
  const special = isSubnetAddress(subnet, address)
    ? 'the address of the subnet itself'
    : isBroadcast(subnet, address)
      ? 'the broadcast address of its subnet'
      : undefined;
  if (special === undefined) return [];
  return [{ path, what: `${text} is ${special}`, write: 'write an address of a host' }];
}

/** IEEE 802: bit 0 of the first byte is multicast, bit 1 locally administered. */
export function checkMacs(file: ClusterFile): readonly Fault[] {
  const macs = [
    ...file.personalities.flatMap(({ networks }, index) =>
      networks.map(({ mac }, at) => ({
        value: mac,
        path: ['personalities', index, 'networks', at, 'mac'],
      })),
    ),
    ...file.services.map(({ mac }, index) => ({ value: mac, path: ['services', index, 'mac'] })),
  ].filter(({ value }) => value !== '');
  const write = 'write a locally administered unicast one, e.g. 02:00:00:00:00:11, or leave it out';
  return [
    ...doubles(
      macs,
      (value) => `MAC ${value} is given twice`,
      'give each its own, or leave it out',
    ),
    ...macs.flatMap(({ value, path }): Fault[] => {
      const first = Number.parseInt(value.slice(0, 2), 16);
      if ((first & 1) === 1) return [{ path, what: `${value} is a multicast MAC`, write }];
      if ((first & 2) === 0) {
        return [{ path, what: `${value} is globally assigned: a vendor's NIC may have it`, write }];
      }
      return [];
    }),
  ];
}
