import { execFileSync, spawn } from 'node:child_process';
import { SystemCallError } from '../../src/ffi/libc.js';
import { LinuxNetwork, type LinuxNetworkOptions } from '../../src/network/linux-network.js';
import { PacketSocket } from '../../src/network/packet-socket.js';
import type { Guard, NetworkSpec, NicSpec } from '../../src/network/types.js';

/** A switch and hosts behind it, each a network namespace; made with `ip`, gone after the test. */
export class NetLab {
  readonly #prefix: string;
  readonly #namespaces: string[] = [];

  constructor(name: string) {
    this.#prefix = `ustest-${process.pid}-${name}`;
    this.#add('switch');
    this.inside(
      'switch',
      'ip link add br0 type bridge stp_state 0 forward_delay 0 mcast_snooping 0',
    );
    this.inside('switch', 'ip link set br0 up');
  }

  /** A host with eth1 at 10.66.0.<number>/24 and fd66::<number>/64. */
  addHost(name: string, number: number): void {
    this.#add(name);
    const path = this.path('switch');
    this.inside(
      name,
      `ip link add eth1 mtu 1600 type veth peer name ${name} mtu 1600 netns ${path}`,
    );
    this.inside('switch', `ip link set ${name} master br0 up`);
    this.inside(name, `ip addr add 10.66.0.${number}/24 dev eth1`);
    this.inside(name, `ip addr add fd66::${number}/64 dev eth1 nodad`);
    this.inside(name, 'ip link set lo up');
    this.inside(name, 'ip link set eth1 up');
  }

  #add(name: string): void {
    execFileSync('ip', ['netns', 'add', `${this.#prefix}-${name}`]);
    this.#namespaces.push(`${this.#prefix}-${name}`);
  }

  path(name: string): string {
    return `/run/netns/${this.#prefix}-${name}`;
  }

  /** Prefixes that keep the namespaces of one host's adapter apart from everybody else's. */
  rolePath(host: string, role: string): string {
    return `${this.path(host)}-us-${role}`;
  }

  networkPath(host: string, network: string): string {
    return `${this.path(host)}-usn-${network}`;
  }

  /** Output of a command in one of the lab's namespaces. */
  inside(name: string, command: string): string {
    return insidePath(this.path(name), command);
  }

  adapter(host: string, options: Partial<LinuxNetworkOptions> = {}): LinuxNetwork {
    const name = `${this.#prefix}-${host}`;
    return new LinuxNetwork({
      cluster: 'test',
      guard: new RecordingGuard(),
      log: { info: () => undefined, warn: () => undefined },
      hostNamespacePath: this.path(host),
      namespacePrefix: `${name}-us-`,
      networkPrefix: `${name}-usn-`,
      ...options,
    });
  }

  /** Names of network namespaces of this lab that are there beside its hosts and its switch. */
  leftovers(): readonly string[] {
    const known = new Set(this.#namespaces);
    return namespaceNames().filter((name) => name.startsWith(this.#prefix) && !known.has(name));
  }

  remove(): void {
    for (const name of [...this.leftovers(), ...this.#namespaces]) {
      execFileSync('ip', ['netns', 'del', name]);
    }
  }
}

function namespaceNames(): readonly string[] {
  const lines = execFileSync('ip', ['netns', 'list'], { encoding: 'utf8' }).split('\n');
  return lines.map((line) => line.split(' ')[0] ?? '').filter((name) => name !== '');
}

/** Runs a command in the network namespace at `path`; its words must hold no spaces. */
export function insidePath(path: string, command: string): string {
  return execFileSync('nsenter', [`--net=${path}`, ...command.split(' ')], {
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'pipe'],
  });
}

/** Whether one ping is answered within a second. */
export function pings(path: string, address: string): Promise<boolean> {
  return new Promise((resolve, reject) => {
    const words = [`--net=${path}`, 'ping', '-n', '-c', '1', '-W', '1', address];
    const child = spawn('nsenter', words, { stdio: 'ignore' });
    child.once('error', reject);
    child.once('exit', (code) => resolve(code === 0));
  });
}

/** Records what it was asked; `refuse` makes it throw. */
export class RecordingGuard implements Guard {
  /** Devices that were guarded, each once for an incarnation. */
  readonly calls: { path: string; interfaceName: string; incarnation: number; up: boolean }[] = [];
  /** How often one was asked for again that stood. */
  kept = 0;
  refuse: Error | undefined;
  /** Devices that are shut. */
  readonly shutNow = new Set<string>();
  refuseToShut: Error | undefined;
  readonly #guarded = new Set<string>();

  attach(path: string, interfaceName: string, incarnation: number): void {
    const flags = insidePath(path, `ip -o link show dev ${interfaceName}`);
    const device = `${path} ${flags.split(':')[0]} ${incarnation}`;
    if (this.#guarded.has(device) && this.refuse === undefined) {
      this.kept++;
      return;
    }
    this.#guarded.add(device);
    this.calls.push({ path, interfaceName, incarnation, up: /[<,]UP[,>]/.test(flags) });
    if (this.refuse !== undefined) throw this.refuse;
  }

  shut(path: string, interfaceName: string): void {
    if (this.refuseToShut !== undefined) throw this.refuseToShut;
    this.shutNow.add(`${path} ${interfaceName}`);
  }
}

/** Hears every frame that comes in by one device. */
export class Capture {
  readonly #socket: PacketSocket;
  readonly frames: Buffer[] = [];
  #waiting: { matches: (frame: Buffer) => boolean; found: (frame: Buffer) => void }[] = [];

  constructor(path: string, interfaceName: string) {
    const everything = 3;
    const index = Number(insidePath(path, `ip -o link show dev ${interfaceName}`).split(':')[0]);
    this.#socket = new PacketSocket(path, index, everything);
    this.#socket.onReadable(() => this.#read());
  }

  #read(): void {
    try {
      for (const frame of this.#socket.received()) {
        this.frames.push(frame);
        for (const { matches, found } of this.#waiting) if (matches(frame)) found(frame);
      }
    } catch (thrown) {
      // The device was taken down: nothing more will come.
      if (!(thrown instanceof SystemCallError && thrown.errnoName === 'ENETDOWN')) throw thrown;
    }
  }

  /** The first frame, of those that came or will come within five seconds, that matches. */
  async frame(matches: (frame: Buffer) => boolean): Promise<Buffer | undefined> {
    this.#read();
    const there = this.frames.find(matches);
    if (there !== undefined) return there;
    return new Promise((resolve) => {
      const timer = setTimeout(() => resolve(undefined), 5_000);
      const found = (frame: Buffer) => {
        clearTimeout(timer);
        resolve(frame);
      };
      this.#waiting.push({ matches, found });
    });
  }

  close(): void {
    this.#read();
    this.#waiting = [];
    this.#socket.close();
  }
}

export function vxlan(name: string, id: number, host: number): NetworkSpec {
  return {
    name,
    fabric: 'vxlan',
    id,
    mtu: 1500,
    underlayInterface: 'eth1',
    underlayAddress: `10.66.0.${host}`,
  };
}

export function nic(network: string, number: number, ...addresses: string[]): NicSpec {
  const hex = number.toString(16).padStart(2, '0');
  return { network, mac: `02:00:5e:00:00:${hex}`, addresses };
}
