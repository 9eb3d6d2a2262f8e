import type { ClusterConfig, LabConfig, NetworkConfig } from '../config/types.js';
import { UnderstudyError } from '../errors.js';

/** A lab worked out of its file: which nodes there are, where they hang, what is filled in. */
export interface LabPlan {
  readonly name: string;
  /** The definition with addresses, portals, gateways and store filled in: what is applied. */
  readonly config: ClusterConfig;
  readonly hosts: readonly LabHost[];
  readonly etcd: readonly { readonly node: string; readonly address: string }[];
  readonly edges: readonly LabEdge[];
  readonly targets: readonly LabTargetPlan[];
}

export interface LabHost {
  readonly name: string;
  readonly internal: string;
  readonly storage: string;
}

/** A learning bridge behind which a network's clients hang; the product never touches it. */
export interface LabEdge {
  readonly node: string;
  readonly network: string;
  readonly vni: number;
  readonly mtu: number;
  readonly underlay: string;
  readonly clients: readonly { readonly node: string; readonly addresses: readonly string[] }[];
}

export interface LabTargetPlan {
  readonly id: number;
  readonly target: string;
  readonly luns: readonly {
    readonly lun: number;
    readonly sizeBytes: number;
    readonly file: string;
  }[];
}

export const internalPrefixLength = 16;
export const storagePrefixLength = 16;
/** An inner frame of 1500 bytes and VXLAN's 50 fit. */
export const internalMtu = 1_600;
export const controlNode = { name: 'ctl', address: '10.66.255.250' } as const;
export const storageNode = {
  name: 'storage',
  internal: '10.66.255.10',
  storage: '10.77.0.1',
} as const;
export const portal = `${storageNode.storage}:3260`;
const etcdPort = 2379;

/** Everything a lab consists of. `has8021q`: whether this kernel can do fabric vlan. */
export function planLab(name: string, config: ClusterConfig, lab: LabConfig): LabPlan {
  const hosts = config.hosts.map((host, index) => ({
    name: host.name,
    internal: host.address === '' ? `10.66.0.${index + 1}` : host.address,
    storage: `10.77.0.${101 + index}`,
  }));
  const etcd = [1, 2, 3].map((index) => ({ node: `etcd${index}`, address: `10.66.255.${index}` }));
  const edges = lab.clients
    .map(({ network }) => network)
    .filter((network, index, all) => all.indexOf(network) === index)
    .map((network, index) => planEdge(config, lab, network, index));
  return {
    name,
    hosts,
    etcd,
    edges,
    targets: lab.storage.map(({ target, luns }, index) => ({
      id: index + 1,
      target,
      luns: luns.map(({ lun, sizeBytes }) => ({
        lun,
        sizeBytes,
        file: `luns/${index + 1}-${lun}`,
      })),
    })),
    config: {
      ...config,
      store: { endpoints: etcd.map(({ address }) => `http://${address}:${etcdPort}`) },
      hosts: config.hosts.map((host, index) => ({
        ...host,
        address: hosts[index]?.internal ?? '',
        interface: 'eth1',
      })),
      networks: config.networks.map((network) => fillNetwork(network, edges)),
      volumes: config.volumes.map((volume) => ({
        ...volume,
        portals: volume.portals.length === 0 ? [portal] : volume.portals,
      })),
    },
  };
}

function planEdge(config: ClusterConfig, lab: LabConfig, network: string, index: number): LabEdge {
  const found = config.networks.find(({ name }) => name === network);
  return {
    node: `edge-${network}`,
    network,
    vni: found?.id ?? 0,
    mtu: found?.mtu ?? 1_500,
    underlay: `10.66.254.${index + 1}`,
    clients: lab.clients
      .filter((client) => client.network === network)
      .map(({ name, addresses }) => ({ node: name, addresses })),
  };
}

/** In this backend a virtual LAN is a VXLAN: its hosts share one kernel, mostly without 8021q. */
function fillNetwork(network: NetworkConfig, edges: readonly LabEdge[]): NetworkConfig {
  if (network.fabric !== 'auto' && network.fabric !== 'vxlan') {
    throw new UnderstudyError({
      code: 'US_LAB_FABRIC',
      action: 'cannot build network',
      object: network.name,
      cause: `the netns backend builds vxlan networks, not ${network.fabric}`,
      remedy: 'write fabric: auto (or vxlan) in the lab file',
    });
  }
  const underlays = edges
    .filter((edge) => edge.network === network.name)
    .map(({ underlay }) => underlay);
  return { ...network, fabric: 'vxlan', gateways: [...network.gateways, ...underlays] };
}
