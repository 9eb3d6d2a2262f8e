import type { ClusterConfig, Fabric, LabConfig, NetworkConfig } from '../config/types.js';
import { UnderstudyError } from '../errors.js';

/** A lab worked out of its file: which nodes there are, where they hang, what is filled in. */
export interface LabPlan {
  readonly name: string;
  /** What a host is: namespaces of this machine's kernel, or a virtual machine with its own. */
  readonly backend: LabConfig['backend'];
  /** The definition with addresses, portals, gateways and store filled in: what is applied. */
  readonly config: ClusterConfig;
  readonly hosts: readonly LabHost[];
  readonly etcd: readonly { readonly node: string; readonly address: string }[];
  readonly edges: readonly LabEdge[];
  /** What serves the LUNs. */
  readonly targetKind: 'tgt' | 'lio';
  readonly targets: readonly LabTargetPlan[];
  /** What the lab decided differently from the file, a sentence each. */
  readonly notices: readonly string[];
}

export interface LabHost {
  readonly name: string;
  readonly internal: string;
  readonly storage: string;
  /** The switch's port of each NIC. */
  readonly ports: { readonly eth1: string; readonly eth2: string };
  /** Group of both ports (ip-link(8)): what is done to it is done to both in one step. */
  readonly portGroup: number;
}

/** A learning bridge behind which a network's clients hang; the product never touches it. */
export interface LabEdge {
  readonly node: string;
  readonly network: string;
  readonly fabric: Fabric;
  /** VNI or VLAN ID. */
  readonly id: number;
  readonly mtu: number;
  readonly underlay: string;
  readonly clients: readonly LabClientNode[];
}

export interface LabClientNode {
  readonly node: string;
  readonly addresses: readonly string[];
  /** Its port on the edge. */
  readonly port: string;
}

export interface LabTargetPlan {
  readonly id: number;
  readonly target: string;
  /** Fenced by reservations: everybody may log in. */
  readonly reserved: boolean;
  readonly luns: readonly {
    readonly lun: number;
    readonly sizeBytes: number;
    readonly file: string;
  }[];
}

export const internalPrefixLength = 16;
export const storagePrefixLength = 16;
/** An inner frame of 1500 bytes and VXLAN's 50 fit, for IPv6 underlays too. */
export const internalMtu = 1_600;
export const controlNode = { name: 'ctl', address: '10.66.255.250' } as const;
export const switchNode = 'sw';
export const storageNode = {
  name: 'storage',
  internal: '10.66.255.10',
  storage: '10.77.0.1',
} as const;
export const portal = `${storageNode.storage}:3260`;
const etcdPort = 2379;
/** Hosts and edges are numbered below 10.66.254.0. */
const mostHosts = 250;
const firstPortGroup = 100;

export interface KernelFeatures {
  /** Whether the hosts' kernel makes VLAN devices. */
  readonly vlan: boolean;
}

/**
 * Everything a lab consists of.
 *
 * @throws {UnderstudyError} US_LAB_FABRIC, US_LAB_NAME, US_LAB_SIZE
 */
export function planLab(
  name: string,
  config: ClusterConfig,
  lab: LabConfig,
  features: KernelFeatures,
): LabPlan {
  refuseWhatCannotBe(name, config, lab);
  const hosts = planHosts(config);
  const networks = config.networks.map((network) => decideFabric(network, features));
  const etcd = [1, 2, 3].map((index) => ({ node: `etcd${index}`, address: `10.66.255.${index}` }));
  const edges = planEdges(networks, lab);
  const offered = new Set(lab.storage.map(({ target }) => target));
  const undecided = config.networks.filter(({ fabric }) => fabric === 'auto');
  return {
    name,
    backend: lab.backend,
    hosts,
    etcd,
    edges,
    targetKind: lab.target ?? 'tgt',
    targets: planTargets(config, lab),
    notices: [
      ...(undecided.length > 0 && !features.vlan
        ? ['this kernel has no 802.1Q (8021q): networks with fabric auto are vxlan in this lab']
        : []),
      ...config.hosts.flatMap((host, index) =>
        host.address === '' || host.address === hosts[index]?.internal
          ? []
          : [`${host.name} has ${hosts[index]?.internal} in this lab, not ${host.address}`],
      ),
    ],
    config: {
      ...config,
      store: { endpoints: etcd.map(({ address }) => `http://${address}:${etcdPort}`) },
      hosts: config.hosts.map((host, index) => ({
        ...host,
        address: hosts[index]?.internal ?? '',
        interface: 'eth1',
      })),
      networks: networks.map((network) => withGateways(network, edges)),
      volumes: config.volumes.map((volume) => ({
        ...volume,
        portals: offered.has(volume.target) ? [portal] : volume.portals,
      })),
    },
  };
}

/** The file's own address stays where the lab's internal network has it, free of the lab's nodes. */
function planHosts(config: ClusterConfig): readonly LabHost[] {
  const given = new Set(config.hosts.map(({ address }) => address).filter(isHostAddress));
  let next = 1;
  const free = () => {
    while (given.has(`10.66.0.${next}`)) next++;
    return `10.66.0.${next++}`;
  };
  return config.hosts.map((host, index) => ({
    name: host.name,
    internal: isHostAddress(host.address) ? host.address : free(),
    storage: `10.77.${Math.floor((101 + index) / 256)}.${(101 + index) % 256}`,
    ports: { eth1: portName('int', host.name, index), eth2: portName('sto', host.name, index) },
    portGroup: firstPortGroup + index,
  }));
}

/** 10.66.0.1 to 10.66.253.254. */
function isHostAddress(address: string): boolean {
  const match = /^10\.66\.(\d+)\.(\d+)$/.exec(address);
  if (match === null) return false;
  const [third, fourth] = [Number(match[1]), Number(match[2])];
  return third < 254 && fourth > 0 && fourth < 255;
}

/** Device names have at most 15 characters (IFNAMSIZ); a longer node's name gives way to a number. */
export function portName(network: 'int' | 'sto', node: string, index: number): string {
  const readable = `${network}-${node}`;
  return readable.length <= 15 ? readable : `${network}-.${index}`;
}

function decideFabric(network: NetworkConfig, features: KernelFeatures): NetworkConfig {
  if (network.fabric === 'auto') return { ...network, fabric: features.vlan ? 'vlan' : 'vxlan' };
  if (network.fabric !== 'vlan' || features.vlan) return network;
  throw new UnderstudyError({
    code: 'US_LAB_FABRIC',
    action: 'cannot build network',
    object: network.name,
    cause: 'this kernel has no 802.1Q (8021q), which fabric vlan needs',
    remedy: 'write fabric: auto (or vxlan) in the lab file, or modprobe 8021q',
  });
}

function planEdges(networks: readonly NetworkConfig[], lab: LabConfig): readonly LabEdge[] {
  return networks
    .filter(({ name }) => lab.clients.some(({ network }) => network === name))
    .map((network, index) => ({
      node: `edge-${network.name}`,
      network: network.name,
      fabric: network.fabric === 'auto' ? 'vxlan' : network.fabric,
      id: network.id,
      mtu: network.mtu,
      underlay: `10.66.254.${index + 1}`,
      clients: lab.clients
        .filter((client) => client.network === network.name)
        .map(({ name, addresses }, number) => ({
          node: name,
          addresses,
          port: `client${number}`,
        })),
    }));
}

function withGateways(network: NetworkConfig, edges: readonly LabEdge[]): NetworkConfig {
  if (network.fabric !== 'vxlan') return network;
  const underlays = edges
    .filter((edge) => edge.network === network.name)
    .map(({ underlay }) => underlay);
  return { ...network, gateways: [...network.gateways, ...underlays] };
}

function planTargets({ volumes }: ClusterConfig, lab: LabConfig): readonly LabTargetPlan[] {
  return lab.storage.map(({ target, luns }, index) => ({
    id: index + 1,
    target,
    reserved: volumes.some((one) => one.target === target && one.fence === 'reservation'),
    luns: luns.map(({ lun, sizeBytes }) => ({ lun, sizeBytes, file: `luns/${index + 1}-${lun}` })),
  }));
}

/** Names become files, devices and words of scripts. */
const nameForm = /^[A-Za-z0-9][A-Za-z0-9_.-]{0,62}$/;

function refuseWhatCannotBe(name: string, config: ClusterConfig, lab: LabConfig): void {
  const refuse = (code: `US_${string}`, object: string, cause: string, remedy: string) =>
    new UnderstudyError({ code, action: 'cannot build lab with', object, cause, remedy });
  if (config.hosts.length > mostHosts) {
    const cause = `at most ${mostHosts} fit on its networks`;
    throw refuse('US_LAB_SIZE', `${config.hosts.length} hosts`, cause, 'name fewer hosts');
  }
  const taken = new Set<string>([switchNode, controlNode.name, storageNode.name]);
  for (const number of [1, 2, 3]) taken.add(`etcd${number}`);
  for (const { network } of lab.clients) taken.add(`edge-${network}`);
  for (const node of [...config.hosts, ...lab.clients]) {
    if (taken.has(node.name)) {
      const cause = 'the lab has a node of its own of that name';
      throw refuse('US_LAB_NAME', `node ${node.name}`, cause, 'give it another name');
    }
  }
  const names = [
    name,
    ...[config.hosts, lab.clients, config.networks].flat().map((one) => one.name),
  ];
  const odd = names.find((one) => !nameForm.test(one));
  if (odd === undefined) return;
  const cause = 'only letters, digits, dot, minus and underscore are allowed, at most 63';
  throw refuse('US_LAB_NAME', `the name ${JSON.stringify(odd)}`, cause, 'choose another name');
}
