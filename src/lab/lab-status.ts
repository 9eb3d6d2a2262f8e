import type { Lab } from './lab.js';
import { controlNode, portName, storageNode } from './plan.js';
import { membersOf } from './processes.js';

/** `lab status --json`. */
export interface LabStatus {
  readonly lab: string;
  readonly cluster: string;
  readonly endpoints: readonly string[];
  readonly nodes: readonly NodeStatus[];
}

export interface NodeStatus {
  readonly name: string;
  readonly kind: 'host' | 'client' | 'edge' | 'storage' | 'etcd' | 'control' | 'switch';
  readonly power: 'on' | 'off' | 'paused';
  /** As the switch's ports say. */
  readonly links: readonly {
    readonly network: 'internal' | 'storage';
    readonly state: 'up' | 'down';
  }[];
  readonly addresses: readonly string[];
  /** First process of a host as this machine numbers it; null where there is none of its own. */
  readonly pid: number | null;
  readonly processes: number | null;
}

/** What a lab's nodes are doing now. */
export async function labStatus(lab: Lab): Promise<LabStatus> {
  const { plan } = lab;
  const down = await downPorts(lab);
  return {
    lab: lab.name,
    cluster: plan.config.cluster,
    endpoints: lab.endpoints,
    nodes: [
      ...(await Promise.all(plan.hosts.map((host) => hostStatus(lab, host, down)))),
      ...plan.edges.flatMap(({ node, underlay, clients }) => [
        plain(node, 'edge', [underlay]),
        ...clients.map((client) => plain(client.node, 'client', client.addresses)),
      ]),
      plain(storageNode.name, 'storage', [storageNode.internal, storageNode.storage]),
      ...plan.etcd.map(({ node, address }) => etcdStatus(lab, node, address, down)),
      plain(controlNode.name, 'control', [controlNode.address]),
      plain('sw', 'switch', []),
    ],
  };
}

function plain(name: string, kind: NodeStatus['kind'], addresses: readonly string[]): NodeStatus {
  return { name, kind, power: 'on', links: [], addresses, pid: null, processes: null };
}

function etcdStatus(
  lab: Lab,
  node: string,
  address: string,
  down: ReadonlySet<string>,
): NodeStatus {
  const member = lab.machine(node).daemon('etcd').process;
  const state = membersOf(lab.pid).find(({ pid }) => pid === member?.pid)?.state;
  const link = down.has(portName('int', node, 0)) ? 'down' : 'up';
  return {
    ...plain(node, 'etcd', [address]),
    power: state === undefined ? 'off' : state === 'T' ? 'paused' : 'on',
    links: [{ network: 'internal', state: link }],
  };
}

async function hostStatus(
  lab: Lab,
  host: Lab['plan']['hosts'][number],
  down: ReadonlySet<string>,
): Promise<NodeStatus> {
  const { name, internal, storage, ports } = host;
  const pid = lab.pidOf(name);
  const addresses = [internal, storage];
  if (pid === undefined) return { ...plain(name, 'host', addresses), power: 'off', processes: 0 };
  const paused = await lab.isPaused(name);
  const link = (network: 'internal' | 'storage', device: keyof typeof ports) => ({
    network,
    state: down.has(ports[device]) ? ('down' as const) : ('up' as const),
  });
  return {
    name,
    kind: 'host',
    power: paused ? 'paused' : 'on',
    links: [link('internal', 'eth1'), link('storage', 'eth2')],
    addresses,
    pid,
    processes: membersOf(pid).length,
  };
}

/** Names of the switch's ports that are administratively down. */
async function downPorts(lab: Lab): Promise<ReadonlySet<string>> {
  const ran = await lab.exec(lab.command('sw', ['ip', '-json', 'link', 'show']));
  const links = JSON.parse(ran.stdout) as readonly { ifname: string; flags: readonly string[] }[];
  return new Set(links.filter(({ flags }) => !flags.includes('UP')).map(({ ifname }) => ifname));
}
