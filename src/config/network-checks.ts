import {
  contains,
  isHostAddress,
  isNetworkAddress,
  overlaps,
  type Prefix,
  parseAddress,
  parsePrefix,
} from './addresses.js';
import { doubles, type Fault, type Path } from './faults.js';
import type { ClusterFile } from './schema.js';

type Network = ClusterFile['networks'][number];

export function checkNetworks(file: ClusterFile): readonly Fault[] {
  return [
    ...file.networks.flatMap((network, index) => [
      ...checkId(network, ['networks', index]),
      ...checkGateways(network, ['networks', index]),
      ...checkMtu(network, ['networks', index, 'mtu']),
    ]),
    ...checkSubnets(file.networks),
    ...checkSameWire(file.networks),
  ];
}

/** IEEE 802.1Q: VLAN IDs 1 to 4094. RFC 7348 section 5: a VNI has 24 bits. `auto` may become either. */
const largestId = { vlan: 4_094, auto: 4_094, vxlan: 16_777_215 } as const;

function checkId({ fabric, id, name }: Network, path: Path): readonly Fault[] {
  const at = [...path, 'id'];
  if (fabric === 'untagged') {
    if (id === 0) return [];
    return [{ path: at, what: 'an untagged network has no id', write: 'leave id out' }];
  }
  const kind = fabric === 'vxlan' ? 'VNI' : 'VLAN ID';
  const most = largestId[fabric];
  if (id >= 1 && id <= most) return [];
  const write = `write a ${kind} from 1 to ${most}`;
  if (id === 0) return [{ path, what: `network ${name} has no id`, write: `add id: ${write}` }];
  return [{ path: at, what: `${id} is no ${kind}`, write }];
}

function checkGateways({ fabric, gateways }: Network, path: Path): readonly Fault[] {
  if (gateways.length > 0 && (fabric === 'vlan' || fabric === 'untagged')) {
    const what = 'gateways are learning VTEPs: only a vxlan network has them';
    return [{ path: [...path, 'gateways'], what, write: 'leave gateways out' }];
  }
  return gateways.flatMap((gateway, at) =>
    parseAddress(gateway) !== undefined && isHostAddress(gateway)
      ? []
      : [
          {
            path: [...path, 'gateways', at],
            what: `${gateway} is no address of a VTEP`,
            write: 'write an underlay address, e.g. 10.66.0.9',
          },
        ],
  );
}

/** RFC 8200 section 5. */
const leastIpv6Mtu = 1_280;

function checkMtu({ mtu, subnet }: Network, path: Path): readonly Fault[] {
  if (mtu >= leastIpv6Mtu || !subnet.some((text) => text.includes(':'))) return [];
  const what = `an MTU of ${mtu} is too small for IPv6`;
  return [{ path, what, write: `write ${leastIpv6Mtu} or more, or leave the IPv6 subnet out` }];
}

function checkSubnets(networks: readonly Network[]): readonly Fault[] {
  const faults: Fault[] = [];
  const taken: { readonly name: string; readonly prefix: Prefix }[] = [];
  for (const [index, { name, subnet: subnets }] of networks.entries()) {
    const path = ['networks', index, 'subnet'];
    for (const subnet of subnets) {
      const prefix = parsePrefix(subnet);
      if (prefix === undefined || !isNetworkAddress(prefix)) {
        const what = `${subnet} is no subnet`;
        const write = 'write a network address with its length, e.g. 10.10.0.0/24';
        faults.push({ path, what, write });
        continue;
      }
      if (!isHostAddress(subnet.split('/')[0] ?? '')) {
        const write = 'write a unicast subnet, e.g. 10.10.0.0/24';
        faults.push({ path, what: `no host can have an address in ${subnet}`, write });
        continue;
      }
      const other = taken.find((one) => overlaps(one.prefix, prefix));
      if (other !== undefined) {
        const what = `${subnet} overlaps a subnet of ${other.name}`;
        faults.push({ path, what, write: 'give each network a subnet of its own' });
      }
      taken.push({ name, prefix });
    }
    const [first, second] = subnets.map((subnet) => subnet.includes(':'));
    if (second !== undefined && first === second) {
      const what = 'two subnets of one address family';
      faults.push({ path, what, write: 'write one IPv4 and one IPv6 subnet' });
    }
  }
  return faults;
}

/** Two networks on one wire would see each other's frames. */
function checkSameWire(networks: readonly Network[]): readonly Fault[] {
  const tagged = (['vlan', 'vxlan'] as const).flatMap((fabric) =>
    doubles(
      networks.flatMap((network, index) =>
        network.fabric === fabric || network.fabric === 'auto'
          ? [{ value: network.id, path: ['networks', index, 'id'], fabric: network.fabric }]
          : [],
      ),
      (id) => `two networks are ${fabric} ${id}`,
      'give each network its own id',
    ),
  );
  // Two `auto` with one id collide as vlan and as vxlan: once is enough to tell.
  const once = new Map(tagged.map((fault) => [fault.path.join('.'), fault]));
  return [
    ...once.values(),
    ...doubles(
      networks.flatMap(({ fabric }, index) =>
        fabric === 'untagged' ? [{ value: fabric, path: ['networks', index, 'fabric'] }] : [],
      ),
      () => 'two untagged networks are one wire: each would get the frames of the other',
      'write fabric: vlan or vxlan with an id for all but one',
    ),
  ];
}

/** The subnet of a network that an address is in. */
export function subnetOf(network: Network, address: readonly number[]): Prefix | undefined {
  return network.subnet
    .flatMap((subnet) => parsePrefix(subnet) ?? [])
    .find((subnet) => contains(subnet, address));
}
