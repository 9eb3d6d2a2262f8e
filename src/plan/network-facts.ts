import { type HostFacts, networkSpec, networksHere, nicsOf, peerSpec } from '../agent/specs.js';
import type { ClusterConfig } from '../config/types.js';
import { parseRoleId, type Role, type View } from '../control/view.js';
import { canonicalCidr, ipText, linkLocalOf, macBytes, parseCidr } from '../network/addresses.js';
import { floodMac } from '../network/netlink/neighbours.js';
import { planRoutes } from '../network/route-plan.js';
import {
  type NamespaceSpec,
  type NetworkSpec,
  type NicSpec,
  preparedEpoch,
} from '../network/types.js';
import type { Fact } from './facts.js';

const carrier = 'carrier';

/**
 * Devices of the virtual LANs that a host belongs to, and where frames go on them.
 *
 * @param ready personalities that the host keeps ready for: their networks are there, down and closed
 */
export function networkFacts(
  view: View,
  config: ClusterConfig,
  host: HostFacts,
  ready: readonly Role[],
): readonly Fact[] {
  const used = networksHere(view, config, host.host);
  const prepared = ready.flatMap((role) => nicsOf(config, role).map(({ network }) => network));
  return [...new Set([...used, ...prepared])]
    .filter((name) => config.networks.some((network) => network.name === name))
    .sort()
    .flatMap((name) => {
      const spec = networkSpec(config, name, host);
      if (spec.fabric === 'untagged') return [];
      const owner = `network/${name}`;
      const namespace = `usn-${name}`;
      const device = carrierId(spec);
      return [
        {
          id: namespace,
          kind: 'namespace',
          // With its device: a network that is no longer used goes, before it may be made ready again.
          state: { quiet: !used.has(name) },
          inPlace: used.has(name) ? [] : ['quiet'],
          changeText: '',
          owner,
          text: `ip netns add ${namespace}`,
        },
        deviceFact(spec, namespace, device, owner, !used.has(name)),
        ...(spec.fabric !== 'vxlan'
          ? []
          : used.has(name)
            ? forwarding(view, config, spec, host)
            : [peerFilter(spec, [])]),
      ];
    });
}

/** What NICs of the network stand on. */
export function carrierId({ name, fabric, underlayInterface }: NetworkSpec): string {
  return fabric === 'untagged' ? `link ${underlayInterface}` : `usn-${name}/link ${carrier}`;
}

function deviceFact(
  spec: NetworkSpec,
  namespace: string,
  id: string,
  owner: string,
  quiet: boolean,
): Fact {
  const { fabric, mtu, underlayInterface, underlayAddress } = spec;
  const vlan = fabric === 'vlan';
  const kind = vlan
    ? `type vlan id ${spec.id}`
    : `type vxlan id ${spec.id} local ${underlayAddress} dstport 4789 nolearning`;
  return {
    id,
    kind: 'netlink',
    // biome-ignore format: one line says what may differ
    state: { fabric, id: spec.id, parent: underlayInterface, local: vlan ? '' : underlayAddress, mtu, quiet },
    inPlace: quiet ? ['mtu', 'quiet'] : ['mtu'],
    on: [namespace],
    owner,
    text: `ip link add ${carrier} netns ${namespace} link ${underlayInterface} mtu ${mtu} ${kind}${quiet ? ' (left down)' : ''}`,
    changeText: `ip -n ${namespace} link set ${carrier} mtu ${mtu}${quiet ? '' : ' up'}`,
  };
}

function forwarding(
  view: View,
  config: ClusterConfig,
  spec: NetworkSpec,
  host: HostFacts,
): readonly Fact[] {
  const { name } = spec;
  const peers = peerSpec(view, config, name, host);
  const owner = `network/${name}`;
  const device = carrierId(spec);
  const entry = (mac: string, via: string, verb: string) =>
    `bridge -n usn-${name} fdb ${verb} ${mac} dev ${carrier} dst ${via}`;
  return [
    peerFilter(spec, peers.allowed),
    ...peers.unicast.map(({ mac, via }): Fact => {
      return {
        id: `usn-${name}/fdb ${mac}`,
        kind: 'netlink',
        state: { via },
        inPlace: ['via'],
        on: [device],
        silent: true,
        owner: holderOf(view, config, name, mac) ?? owner,
        text: entry(mac, via, 'replace'),
      };
    }),
    ...peers.flood.map((via): Fact => {
      return {
        id: `usn-${name}/fdb ${floodMac} ${via}`,
        kind: 'netlink',
        state: {},
        on: [device],
        silent: true,
        owner,
        text: entry(floodMac, via, 'append'),
      };
    }),
  ];
}

function peerFilter(spec: NetworkSpec, allowed: readonly string[]): Fact {
  return {
    id: `peer filter ${spec.id}`,
    kind: 'bpf',
    state: { allowed: allowed.join(' ') },
    inPlace: ['allowed'],
    on: [carrierId(spec)],
    owner: `network/${spec.name}`,
    text: `frames of VNI ${spec.id} are let in from ${allowed.join(', ') || 'nobody'}`,
  };
}

function holderOf(view: View, config: ClusterConfig, network: string, mac: string) {
  return [...view.assignments.keys()].find((id) =>
    nicsOf(config, parseRoleId(id)).some((nic) => nic.network === network && nic.mac === mac),
  );
}

/**
 * A role's namespace: its NICs, their addresses and guard, what lo holds, routes. What is only prepared
 * has no routes yet, and can be taken over by giving it an epoch.
 */
export function namespaceFacts(
  spec: NamespaceSpec,
  config: ClusterConfig,
  host: HostFacts,
  owner: string,
): readonly Fact[] {
  const namespace = `us-${spec.name}`;
  const { epoch, incarnation } = spec;
  const part = { owner, on: [namespace] };
  const prepared = epoch === preparedEpoch;
  return [
    {
      id: namespace,
      kind: 'namespace',
      state: { epoch, incarnation },
      inPlace: prepared ? ['epoch'] : [],
      owner,
      text: `ip netns add ${namespace}${prepared ? ' (made ready)' : ''}`,
      changeText: `${namespace} is epoch ${epoch} from now on`,
    },
    ...spec.loopbackAddresses.map((address): Fact => {
      const cidr = canonicalCidr(address);
      return {
        ...part,
        id: `${namespace}/lo address ${cidr}`,
        kind: 'netlink',
        state: {},
        silent: true,
        text: `ip -n ${namespace} address add ${cidr} dev lo`,
      };
    }),
    ...spec.nics.flatMap((nic, index) =>
      nicFacts(nic, `eth${index}`, namespace, networkSpec(config, nic.network, host), spec, owner),
    ),
    ...(prepared ? [] : routeFacts(spec, namespace, owner)),
  ];
}

function nicFacts(
  nic: NicSpec,
  name: string,
  namespace: string,
  network: NetworkSpec,
  { epoch, incarnation }: NamespaceSpec,
  owner: string,
): readonly Fact[] {
  const ground = carrierId(network);
  const id = nicId(namespace, name);
  const parent = network.fabric === 'untagged' ? network.underlayInterface : carrier;
  const part = { owner, on: [id], silent: true };
  const prepared = epoch === preparedEpoch;
  return [
    {
      id,
      kind: 'netlink',
      // biome-ignore format: one line says what may differ
      state: { network: nic.network, mac: nic.mac, on: ground, epoch, incarnation, mtu: network.mtu },
      inPlace: prepared ? ['mtu', 'epoch'] : ['mtu'],
      on: [namespace, ground],
      owner,
      changeText: `ip -n ${namespace} link set ${name} mtu ${network.mtu}${prepared ? '' : ' up'}`,
      text: `ip link add link ${parent} name ${name} netns ${namespace} address ${nic.mac} mtu ${network.mtu} type macvlan mode bridge${prepared ? ' (left down)' : ''}`,
    },
    ...addressesOf(nic).map((cidr): Fact => {
      return {
        ...part,
        id: `${namespace}/${name} address ${cidr}`,
        kind: 'netlink',
        state: {},
        text: `ip -n ${namespace} address add ${cidr} dev ${name}`,
      };
    }),
    {
      ...part,
      id: `${namespace}/${name} guard`,
      kind: 'bpf',
      state: {},
      text: `the lease of incarnation ${incarnation} is enforced on ${name}, in and out`,
    },
  ];
}

const nicId = (namespace: string, name: string): string => `${namespace}/link ${name}`;

/** As nic.ts sets them: with IPv6 comes the link-local address that follows from the vMAC. */
function addressesOf({ mac, addresses }: NicSpec): readonly string[] {
  const own = addresses.map(canonicalCidr);
  const ipv6 = addresses.map(parseCidr).some(({ family }) => family === 'ipv6');
  return ipv6 ? [...own, `${ipText(linkLocalOf(macBytes(mac)))}/64`] : own;
}

function routeFacts(spec: NamespaceSpec, namespace: string, owner: string): readonly Fact[] {
  // The plan's own numbering: NIC n is link n.
  const nics = spec.nics.map(({ addresses }, index) => {
    return { linkIndex: index + 1, addresses: addresses.map(parseCidr) };
  });
  return planRoutes(spec.routes, nics).map(({ to, via, linkIndex }): Fact => {
    const where = `${ipText(to.bytes)}/${to.prefixLength} via ${ipText(via)}`;
    const name = `eth${linkIndex - 1}`;
    // The kernel takes a route away together with the address that its gateway is reached from.
    const from = spec.nics[linkIndex - 1]?.addresses
      .filter((address) => address.includes(':') === (via.length === 16))
      .map((address) => `${namespace}/${name} address ${canonicalCidr(address)}`);
    return {
      id: `${namespace}/route ${where}`,
      kind: 'netlink',
      state: {},
      on: [nicId(namespace, name), ...(from ?? [])],
      silent: true,
      owner,
      text: `ip -n ${namespace} route add ${where}`,
    };
  });
}
