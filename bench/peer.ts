import { setTimeout as pause } from 'node:timers/promises';
import { argvText, writeLabFiles } from '../src/lab/files.js';
import { Host } from '../src/lab/host.js';
import type { Lab } from '../src/lab/lab.js';
import { ownMountPoints } from '../src/lab/mount-points.js';
import { controlNode, portName } from '../src/lab/plan.js';
import { labDirectory } from '../src/lab/state.js';
import type { Nodes } from '../src/observe/observers.js';
import type { PeerKind } from './peers.js';

/**
 * Another product on the lab's own switch: two hosts with the same power switch as the lab's. Their
 * address is pinged from the lab's control node.
 */
export class PeerPair {
  static readonly client = controlNode.name;
  readonly kind: PeerKind;
  readonly #hosts: readonly Host[];
  readonly #lab: Lab;

  private constructor(kind: PeerKind, hosts: readonly Host[], lab: Lab) {
    this.kind = kind;
    this.#hosts = hosts;
    this.#lab = lab;
  }

  static async up(lab: Lab, kind: PeerKind): Promise<PeerPair> {
    const directory = labDirectory(lab.name);
    const outside = `/proc/${lab.pid}/root${directory}`;
    const place = {
      labPid: lab.pid,
      directory,
      mountPoints: ownMountPoints([process.execPath]),
      backend: lab.plan.backend,
    };
    const hosts = [1, 2].map((number) => {
      const name = `${kind.letter}${number}`;
      const index = kind.firstIndex + number;
      writeLabFiles(outside, filesOf(name, kind.script(name, number)));
      const ports = { eth1: portName('int', name, index), eth2: portName('sto', name, index) };
      const subnet = kind.firstIndex;
      const addresses = {
        internal: `10.66.${subnet}.${number}`,
        storage: `10.77.${subnet}.${number}`,
      };
      return new Host({ name, ...addresses, ports, portGroup: 100 + index }, index, place);
    });
    const pair = new PeerPair(kind, hosts, lab);
    for (const host of hosts) await host.powerOn();
    await pair.settled();
    return pair;
  }

  get address(): string {
    return `10.66.${this.kind.firstIndex}.100`;
  }

  /**
   * The host that holds the address: the one whose kernel has it. For a while two may: a fencing agent that only says
   * that the other one is off leaves it on, where a slow machine made it late.
   */
  async holder(): Promise<Host> {
    for (const endMs = Date.now() + settledMs; ; await pause(100)) {
      const holders: Host[] = [];
      for (const host of this.#hosts) {
        if (host.process === undefined) continue;
        const { stdout } = await this.#lab.exec(host.command(['ip', '-o', '-4', 'addr']));
        if (stdout.includes(` ${this.address}/`)) holders.push(host);
      }
      const [only] = holders;
      if (only !== undefined && holders.length === 1) return only;
      if (Date.now() > endMs) {
        throw new Error(
          `${holders.length} hosts of ${this.kind.letter}1 and ${this.kind.letter}2 hold the address`,
        );
      }
    }
  }

  /** Both take part again, so that the next cut finds a standby. */
  async settled(): Promise<void> {
    const { ready } = this.kind;
    for (const endMs = Date.now() + settledMs; ready !== undefined; await pause(100)) {
      const asked = await Promise.all(
        this.#hosts.map((host) => this.#lab.exec(host.command(['sh', '-c', ready]))),
      );
      if (asked.every(({ code }) => code === 0)) break;
      if (Date.now() > endMs) {
        throw new Error(`not ready: ${asked.map(({ stdout, stderr }) => stdout + stderr)}`);
      }
    }
    await pause(this.kind.settleMs);
  }
}

const settledMs = 90_000;

/** What a host's first process starts as pulse and agent (src/lab/init-scripts.ts). */
function filesOf(name: string, script: string) {
  const folder = `hosts/${name}`;
  return [
    // A host wants some settings.
    { path: `${folder}/peer.yaml`, content: '' },
    { path: `${folder}/cluster.key`, content: '' },
    { path: `${folder}/agent.command`, content: argvText(['sleep', 'infinity']) },
    {
      path: `${folder}/pulse.command`,
      content: argvText(['sh', '-c', `echo -10 > /proc/self/autogroup\n${script}`]),
    },
  ];
}

/** The lab's nodes as observers use them. */
export function nodesOf(lab: Lab): Nodes {
  return { spawn: (node, argv) => lab.spawn(lab.command(node, argv)) };
}
