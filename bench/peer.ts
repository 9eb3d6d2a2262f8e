import { argvText, writeLabFiles } from '../src/lab/files.js';
import { Host } from '../src/lab/host.js';
import type { Lab } from '../src/lab/lab.js';
import { ownMountPoints } from '../src/lab/mount-points.js';
import { controlNode, portName } from '../src/lab/plan.js';
import { labDirectory } from '../src/lab/state.js';
import type { Nodes } from '../src/observe/observers.js';

/**
 * keepalived on the lab's own switch: two hosts with the same power switch as the lab's, a virtual
 * address on a virtual MAC (VRRP version 3, use_vmac), no storage and no fencing. It is pinged from the
 * lab's control node.
 */
export class KeepalivedPair {
  static readonly address = '10.66.200.100';
  static readonly client = controlNode.name;
  readonly #hosts: readonly Host[];

  private constructor(hosts: readonly Host[]) {
    this.#hosts = hosts;
  }

  static async up(lab: Lab, advertMs: number): Promise<KeepalivedPair> {
    const directory = labDirectory(lab.name);
    const outside = `/proc/${lab.pid}/root${directory}`;
    const place = {
      labPid: lab.pid,
      directory,
      mountPoints: ownMountPoints([process.execPath]),
    };
    const hosts = [1, 2].map((number) => {
      const name = `k${number}`;
      const index = firstIndex + number;
      writeLabFiles(outside, filesOf(name, advertMs));
      const ports = { eth1: portName('int', name, index), eth2: portName('sto', name, index) };
      const addresses = { internal: `10.66.200.${number}`, storage: `10.77.200.${number}` };
      return new Host({ name, ...addresses, ports, portGroup: 100 + index }, index, place);
    });
    const pair = new KeepalivedPair(hosts);
    for (const host of hosts) await host.powerOn();
    return pair;
  }

  /** The host that holds the address: the one whose kernel has it. */
  async holder(lab: Lab): Promise<Host> {
    for (const host of this.#hosts) {
      if (host.process === undefined) continue;
      const { stdout } = await lab.exec(host.command(['ip', '-o', '-4', 'addr']));
      if (stdout.includes(`${KeepalivedPair.address}/`)) return host;
    }
    throw new Error('no host of keepalived holds the address');
  }
}

/** Beyond the numbers of the lab's own hosts. */
const firstIndex = 200;

/** What a host's first process starts as pulse and agent (src/lab/init-scripts.ts). */
function filesOf(name: string, advertMs: number) {
  const folder = `hosts/${name}`;
  const settings = '/etc/understudy/keepalived.yaml';
  const run = ['-p', '/run/keepalived.pid', '-r', '/run/vrrp.pid'];
  const daemon = ['keepalived', '-n', '-l', '-P', '-f', settings, ...run];
  return [
    { path: `${folder}/keepalived.yaml`, content: configuration(name, advertMs) },
    { path: `${folder}/cluster.key`, content: '' },
    { path: `${folder}/agent.command`, content: argvText(['sleep', 'infinity']) },
    {
      path: `${folder}/pulse.command`,
      content: argvText([
        ...['sh', '-c', 'echo -10 > /proc/self/autogroup; exec "$@"', 'favoured'],
        ...daemon,
      ]),
    },
  ];
}

/** Nobody preempts: the one that comes back stays behind, as with ours. */
function configuration(name: string, advertMs: number): string {
  return `global_defs {
  router_id ${name}
  max_auto_priority 99
}
vrrp_instance shared {
  state BACKUP
  nopreempt
  interface eth1
  use_vmac
  version 3
  virtual_router_id 51
  priority 250
  advert_int ${advertMs / 1_000}
  virtual_ipaddress {
    ${KeepalivedPair.address}/16
  }
}
`;
}

/** The lab's nodes as observers use them. */
export function nodesOf(lab: Lab): Nodes {
  return { spawn: (node, argv) => lab.spawn(lab.command(node, argv)) };
}
