import { createInterface } from 'node:readline';
import type { Readable } from 'node:stream';
import type { Lab } from '../../src/lab/lab.js';

/**
 * What a host's kernel has and does, as iproute2 tells it: nobody of ours is asked. Things are named
 * as a plan names them.
 */
export type Kernel = ReadonlyMap<string, string>;

const snapshot = `
for ns in $(ls /run/netns); do
  echo "$ns link $(ip -n $ns -j link)"
  echo "$ns address $(ip -n $ns -j address)"
  echo "$ns route $(ip -n $ns -j route show proto 117)"
  echo "$ns fdb $(bridge -n $ns -j fdb)"
done`;

interface IpLink {
  readonly ifname: string;
  readonly address: string;
  readonly mtu: number;
}

interface IpAddress {
  readonly ifname: string;
  readonly addr_info: readonly { readonly local: string; readonly prefixlen: number }[];
}

/** Object of a plan → what can differ of it. */
export async function lookAt(lab: Lab, host: string): Promise<Kernel> {
  const { stdout } = await lab.exec(lab.command(host, ['sh', '-c', snapshot]));
  const found = new Map<string, string>();
  for (const line of stdout.trim().split('\n')) {
    const [, ns = '', what = '', json = ''] = /^(\S+) (\S+) (.*)$/.exec(line) ?? [];
    if (ns === '') continue;
    found.set(ns, '');
    const list: unknown = JSON.parse(json === '' ? '[]' : json);
    if (what === 'link') {
      for (const { ifname, address, mtu } of list as IpLink[]) {
        const mac = ifname === 'carrier' ? '' : ` ${address}`;
        if (ifname !== 'lo') found.set(`${ns}/link ${ifname}`, `${mtu}${mac}`);
      }
    } else if (what === 'address') {
      for (const { ifname, addr_info } of list as IpAddress[]) {
        for (const { local, prefixlen } of addr_info) {
          if (local === '127.0.0.1' || local === '::1') continue;
          found.set(`${ns}/${ifname} address ${local}/${prefixlen}`, '');
        }
      }
    } else if (what === 'route') {
      for (const { dst, gateway } of list as { dst: string; gateway: string }[]) {
        found.set(`${ns}/route ${dst === 'default' ? '0.0.0.0/0' : dst} via ${gateway}`, '');
      }
    } else {
      for (const { mac, dst } of list as { mac: string; dst?: string }[]) {
        if (dst === undefined) continue;
        const flood = mac === '00:00:00:00:00:00';
        found.set(`${ns}/fdb ${flood ? `${mac} ${dst}` : mac}`, flood ? '' : dst);
      }
    }
  }
  return found;
}

/** Object of a plan that an event of the kernel was about, with what happened to it. */
export interface KernelEvent {
  readonly host: string;
  readonly object: string;
  readonly gone: boolean;
  readonly line: string;
}

const monitor = `
for ns; do
  ip -o -n $ns monitor label link address route | sed -u "s|^|$ns |" &
  bridge -n $ns monitor fdb | sed -u "s|^|$ns [FDB]|" &
done
wait`;

/** Hears every change of links, addresses, routes and forwarding entries in a host's namespaces. */
export class KernelWatch {
  readonly #lab: Lab;
  readonly #watched = new Set<string>();
  readonly #links = new Map<string, string>();
  #events: KernelEvent[] = [];

  constructor(lab: Lab) {
    this.#lab = lab;
  }

  /** Listens in namespaces that it does not listen in yet. They end with the lab. */
  follow(host: string, kernel: Kernel): void {
    const fresh = [...kernel.keys()].filter(
      (name) => /^us[^/]*$/.test(name) && !this.#watched.has(`${host} ${name}`),
    );
    for (const [object, state] of kernel) this.#links.set(`${host} ${object}`, state);
    if (fresh.length === 0) return;
    for (const name of fresh) this.#watched.add(`${host} ${name}`);
    const child = this.#lab.spawn(this.#lab.command(host, ['sh', '-c', monitor, 'sh', ...fresh]));
    if (child.stdout === null) throw new Error('no output');
    createInterface({ input: child.stdout as Readable }).on('line', (line) => {
      const event = this.#understand(host, line);
      if (event !== undefined) this.#events.push(event);
    });
  }

  /** What was heard since the last time. */
  take(): readonly KernelEvent[] {
    const events = this.#events;
    this.#events = [];
    return events;
  }

  #understand(host: string, line: string): KernelEvent | undefined {
    const [, ns = '', kind = '', deleted, rest = ''] =
      /^(\S+) \[(\w+)\](Deleted )?(.*)$/.exec(line) ?? [];
    const event = (object: string) => {
      return { host, object: `${ns}/${object}`, gone: deleted !== undefined, line };
    };
    if (kind === 'ADDR') {
      const [, device = '', address = ''] = /^\d+: (\S+)\s+inet6? (\S+)/.exec(rest) ?? [];
      return event(`${device} address ${address.includes('/') ? address : `${address}/32`}`);
    }
    if (kind === 'ROUTE') {
      const [, to = '', via = ''] = /^(\S+) via (\S+) .*proto 117/.exec(rest) ?? [];
      if (via === '') return undefined; // the kernel's own
      return event(`route ${to === 'default' ? '0.0.0.0/0' : to} via ${via}`);
    }
    if (kind === 'FDB') {
      const [, mac = '', via] = /^(\S+) dev carrier dst (\S+)/.exec(rest) ?? [];
      if (via === undefined) return undefined;
      return event(`fdb ${mac === '00:00:00:00:00:00' ? `${mac} ${via}` : mac}`);
    }
    const [, device = '', mtu = '', mac = ''] =
      /^\d+: ([^@:\s]+)\S* .*mtu (\d+) .*link\/ether (\S+)/.exec(rest) ?? [];
    if (device === '') return undefined;
    const link = event(`link ${device}`);
    const state = device === 'carrier' ? mtu : `${mtu} ${mac}`;
    const key = `${host} ${link.object}`;
    // Up or down, or told again: not another thing.
    if (!link.gone && this.#links.get(key) === state) return undefined;
    if (link.gone) this.#links.delete(key);
    else this.#links.set(key, state);
    return link;
  }
}
