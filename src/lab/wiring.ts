import {
  controlNode,
  internalMtu,
  internalPrefixLength,
  type LabEdge,
  type LabHost,
  type LabPlan,
  portName,
  storageNode,
  storagePrefixLength,
  switchNode,
} from './plan.js';

/**
 * The networks of a lab, as text for `ip -batch` (ip(8)): one process for many links. Only here and
 * in tests is `ip` spawned; the product itself speaks rtnetlink.
 */

/** A NIC of a node and the port at its other end. */
export interface Cable {
  readonly node: string;
  readonly device: string;
  /** CIDR, IPv4 or IPv6. */
  readonly addresses: readonly string[];
  readonly mtu: number;
  readonly mac: string;
  readonly to: {
    readonly node: string;
    readonly bridge: string;
    readonly port: string;
    readonly group: number;
  };
}

const internalBridge = 'int';
const storageBridge = 'sto';
const edgeBridge = 'br';
const storageMtu = 1_500;
/** Longer than any lab runs, in 1/100 s: a switch that forgets would hide a missing announcement. */
const bridgeAgeing = 3_000_000;
const vxlanAgeingSeconds = 30_000;
/** IANA's port for VXLAN (RFC 7348). */
const vxlanPort = 4_789;

/** One run of `ip -batch`, `bridge -batch` or `tc -batch`, in the lab's own network namespace or in a node's. */
export interface Batch {
  readonly node: string | undefined;
  /** Default ip. */
  readonly tool?: 'ip' | 'bridge' | 'tc';
  readonly lines: readonly string[];
}

/** Namespaces and cables of everything but the hosts. */
export function planNetwork(plan: LabPlan): { nodes: readonly string[]; cables: readonly Cable[] } {
  const internal = (node: string, address: string, index: number) =>
    cable({ node, device: 'eth1', address, index, bridge: internalBridge, group: 0 });
  const infrastructure = [
    internal(controlNode.name, controlNode.address, 1),
    internal(storageNode.name, storageNode.internal, 2),
    cable({
      node: storageNode.name,
      device: 'eth2',
      address: storageNode.storage,
      index: 2,
      bridge: storageBridge,
      group: 0,
    }),
    ...plan.etcd.map(({ node, address }, index) => internal(node, address, 3 + index)),
  ];
  const edges = plan.edges.map((edge, index) =>
    cable({
      node: edge.node,
      device: 'eth0',
      address: edge.underlay,
      index: 16 + index,
      bridge: internalBridge,
      group: 0,
    }),
  );
  const clients = plan.edges.flatMap((edge, number) =>
    edge.clients.map((client, index) => ({
      node: client.node,
      device: 'eth0',
      addresses: client.addresses,
      mtu: edge.mtu,
      mac: macOf(0x10 + number, index + 1),
      to: { node: edge.node, bridge: edgeBridge, port: client.port, group: 0 },
    })),
  );
  return {
    nodes: [
      switchNode,
      ...new Set([...infrastructure, ...edges, ...clients].map(({ node }) => node)),
    ].filter((node) => node !== controlNode.name),
    cables: [...infrastructure, ...edges, ...clients],
  };
}

/** A host's two cables. */
export function hostCables(host: LabHost, index: number): readonly Cable[] {
  const common = { node: host.name, index: 0x100 + index, group: host.portGroup };
  const { internal, storage, ports } = host;
  return [
    cable({ ...common, device: 'eth1', address: internal, bridge: 'int', port: ports.eth1 }),
    cable({ ...common, device: 'eth2', address: storage, bridge: 'sto', port: ports.eth2 }),
  ];
}

function cable(spec: {
  readonly node: string;
  readonly device: string;
  readonly address: string;
  readonly index: number;
  readonly bridge: typeof internalBridge | typeof storageBridge;
  readonly group: number;
  readonly port?: string;
}): Cable {
  const internal = spec.bridge === internalBridge;
  const prefixLength = internal ? internalPrefixLength : storagePrefixLength;
  return {
    node: spec.node,
    device: spec.device,
    addresses: [`${spec.address}/${prefixLength}`],
    mtu: internal ? internalMtu : storageMtu,
    mac: macOf(internal ? 1 : 2, spec.index),
    to: {
      node: switchNode,
      bridge: spec.bridge,
      port: spec.port ?? portName(spec.bridge, spec.node, spec.index),
      group: spec.group,
    },
  };
}

/**
 * The same for the same NIC at every power-on, as with real machines: neighbours remember it. Below
 * 02:55:4c, which the allocation of vMACs does not use by more than chance.
 */
function macOf(segment: number, index: number): string {
  const bytes = [0x02, 0x55, 0x4c, segment, index >> 8, index & 0xff];
  return bytes.map((byte) => byte.toString(16).padStart(2, '0')).join(':');
}

export function addNodes(nodes: readonly string[]): Batch {
  return { node: undefined, lines: nodes.map((node) => `netns add ${node}`) };
}

export function removeNodes(nodes: readonly string[]): Batch {
  return { node: undefined, lines: nodes.map((node) => `netns del ${node}`) };
}

/**
 * Both ends of every cable, made where they belong; nothing is up yet. Made from the bridge's side,
 * where each name is free: kernels before 6.13 look for a new link's name in the caller's namespace,
 * even if the link is to be in another.
 */
export function layCables(cables: readonly Cable[]): readonly Batch[] {
  return byNode(
    cables,
    ({ to }) => to.node,
    ({ node, device, mtu, mac, to }) => [
      `link add name ${to.port} mtu ${mtu} type veth peer name ${device} netns ${node} address ${mac} mtu ${mtu}`,
    ],
  );
}

/** The switch's two bridges, before any cable. */
export function addBridges(): Batch {
  return {
    node: switchNode,
    lines: [...bridge(internalBridge, internalMtu), ...bridge(storageBridge, storageMtu)],
  };
}

function bridge(name: string, mtu: number): readonly string[] {
  return [
    `link add name ${name} mtu ${mtu} type bridge stp_state 0 forward_delay 0 mcast_snooping 0 ageing_time ${bridgeAgeing}`,
    `link set dev ${name} up`,
  ];
}

/**
 * An edge: a plain bridge with one port to the virtual LAN. Where that is a VXLAN, its port learns,
 * and floods broadcasts to every host. Unknown unicast is not flooded anywhere: what a client sends
 * to a vMAC goes where the edge last heard it from, and only an announcement moves that.
 */
export function addEdge(edge: LabEdge): Batch {
  const { node, id, underlay, mtu } = edge;
  const up = ['link set dev lan master br', ...plugged('lan')];
  if (edge.fabric === 'vxlan') {
    const device = `link add name lan mtu ${mtu} type vxlan id ${id} local ${underlay} dstport ${vxlanPort} learning ageing ${vxlanAgeingSeconds}`;
    return { node, lines: [...bridge(edgeBridge, mtu), device, ...up] };
  }
  if (edge.fabric === 'vlan') {
    // A VLAN device only comes up on a device that is up.
    const device = `link add link eth0 name lan mtu ${mtu} type vlan id ${id}`;
    return { node, lines: [...bridge(edgeBridge, mtu), 'link set dev eth0 up', device, ...up] };
  }
  return {
    node,
    lines: [...bridge(edgeBridge, mtu), 'link set dev eth0 master br', ...plugged('eth0')],
  };
}

/** Where an edge sends broadcasts: every host, member or not. */
export function floodFrom(edge: LabEdge, hosts: readonly LabHost[]): Batch {
  const to = edge.fabric === 'vxlan' ? hosts.map(({ internal }) => internal) : [];
  const lines = to.map((address) => `fdb append 00:00:00:00:00:00 dev lan dst ${address}`);
  return { node: edge.node, tool: 'bridge', lines };
}

/**
 * The switch knows the NICs of its nodes for good. It floods no unknown unicast, and a port that was
 * down has forgotten what it learned: a host that is joined again could not be reached before it speaks.
 */
export function knowNics(cables: readonly Cable[]): Batch {
  const lines = cables
    .filter(({ to }) => to.node === switchNode)
    .map(({ mac, to }) => `fdb replace ${mac} dev ${to.port} master static`);
  return { node: switchNode, tool: 'bridge', lines };
}

/** Brings up the ends that are ports of bridges, by node. */
export function plugPorts(cables: readonly Cable[]): readonly Batch[] {
  return byNode(
    cables,
    ({ to }) => to.node,
    ({ to }) => [
      `link set dev ${to.port} master ${to.bridge}`,
      `link set dev ${to.port} group ${to.group}`,
      ...plugged(to.port),
    ],
  );
}

function plugged(port: string): readonly string[] {
  return [
    `link set dev ${port} type bridge_slave flood off mcast_flood on bcast_flood on learning on`,
    `link set dev ${port} up`,
  ];
}

/** Brings up the NICs with their addresses, by node. */
export function bringUp(cables: readonly Cable[]): readonly Batch[] {
  const nics = byNode(
    cables,
    ({ node }) => node,
    ({ device, addresses }) => [
      ...addresses.map(
        (address) => `addr add ${address} dev ${device}${noDuplicateProbe(address)}`,
      ),
      `link set dev ${device} up`,
    ],
  );
  return nics.map(({ node, lines }) => ({ node, lines: ['link set dev lo up', ...lines] }));
}

/** An IPv6 address is usable at once. */
function noDuplicateProbe(address: string): string {
  return address.includes(':') ? ' nodad' : '';
}

function byNode(
  cables: readonly Cable[],
  nodeOf: (cable: Cable) => string,
  linesOf: (cable: Cable) => readonly string[],
): readonly Batch[] {
  const batches = new Map<string, string[]>();
  for (const one of cables) {
    const lines = batches.get(nodeOf(one)) ?? [];
    lines.push(...linesOf(one));
    batches.set(nodeOf(one), lines);
  }
  return [...batches].map(([node, lines]) => ({ node, lines }));
}
