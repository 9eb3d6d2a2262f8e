import { readFileSync } from 'node:fs';
import ipaddr from 'ipaddr.js';
import { runChild } from './child.js';
import { hostOfInitiator } from './types.js';

/**
 * Connections to tgtd whose login has begun and not ended. tgtd asks its access list when a login begins
 * and never again, and lists a connection when the login has ended. So one that hung in between, as on
 * a host that was stopped, would come in after its name was taken off the list.
 *
 * tgtd does not tell of them; the kernel does: more connections of an address than tgtd lists.
 */

/** Where a target listens. */
export interface Portals {
  readonly ports: ReadonlySet<number>;
  readonly ipv4: boolean;
  readonly ipv6: boolean;
}

/** A connection that is logged in. */
export interface Peer {
  readonly initiator: string;
  readonly address: string;
}

/** Listed or established connections by the peer's address, in one spelling. */
export type Peers = ReadonlyMap<string, number>;

/** Addresses with more established connections than are listed. Pure. */
export function halfLogins(established: Peers, listed: Peers): readonly string[] {
  return [...established]
    .filter(([address, count]) => count > (listed.get(address) ?? 0))
    .map(([address]) => address);
}

/**
 * Addresses from which hosts other than these are logged in, and none of these. Pure.
 *
 * @param hosts undefined: it is not known whom to look for, so nobody is another
 */
export function othersAddresses(
  peers: readonly Peer[],
  hosts: ReadonlySet<string> | undefined,
): ReadonlySet<string> {
  if (hosts === undefined) return new Set();
  const isOther = ({ initiator }: Peer) => {
    const host = hostOfInitiator(initiator);
    return host !== undefined && !hosts.has(host);
  };
  const theirs = new Set(peers.filter((peer) => !isOther(peer)).map(({ address }) => address));
  return new Set(peers.map(({ address }) => address).filter((address) => !theirs.has(address)));
}

/** One spelling: no brackets, no IPv4 inside IPv6. */
export function plainAddress(text: string): string {
  const bare = text.replace(/^\[|\]$/g, '');
  return ipaddr.isValid(bare) ? ipaddr.process(bare).toString() : bare;
}

const established = '01';

/** Peers of established connections to these local ports: /proc/net/tcp or tcp6 (proc_net(5)). Pure. */
export function parseEstablished(text: string, ports: ReadonlySet<number>): readonly string[] {
  return text.split('\n').flatMap((line) => {
    const [, , local = '', remote = '', state] = line.split(/\s+/);
    const port = Number.parseInt(local.split(':')[1] ?? '', 16);
    if (state !== established || !ports.has(port)) return [];
    return [addressOf(remote.split(':')[0] ?? '')];
  });
}

/** Words of four bytes, each in the order of this machine's memory. */
function addressOf(hex: string): string {
  const bytes = Buffer.from(hex, 'hex');
  for (let at = 0; at + 4 <= bytes.length; at += 4) bytes.subarray(at, at + 4).reverse();
  return ipaddr.fromByteArray([...bytes]).kind() === 'ipv4'
    ? ipaddr.fromByteArray([...bytes]).toString()
    : plainAddress(ipaddr.fromByteArray([...bytes]).toString());
}

/**
 * Of this network namespace. Each of the two files costs the kernel a walk through all of its table (a
 * millisecond), which a takeover waits for: so only those of a family that is listened on.
 */
export function establishedPeers({ ports, ipv4, ipv6 }: Portals): Peers {
  const files = [...(ipv4 ? ['tcp'] : []), ...(ipv6 ? ['tcp6'] : [])];
  return countEach(
    files.flatMap((name) =>
      parseEstablished(readFileSync(`/proc/self/net/${name}`, 'utf8'), ports),
    ),
  );
}

export function countEach(addresses: readonly string[]): Peers {
  const counts = new Map<string, number>();
  for (const address of addresses) counts.set(address, (counts.get(address) ?? 0) + 1);
  return counts;
}

const killMs = 2_000;

/**
 * Ends every connection of an address to these ports; whoever is logged in from there logs in again.
 * Needs CAP_NET_ADMIN and a kernel with CONFIG_INET_DIAG_DESTROY: the caller looks whether it worked.
 *
 * Equals: `ss --kill --tcp dst ADDRESS sport = :PORT`
 */
export async function endConnections(
  address: string,
  { ports }: Pick<Portals, 'ports'>,
  signal: AbortSignal,
): Promise<void> {
  const host = address.includes(':') ? `[${address}]` : address;
  for (const port of ports) {
    const filter = ['state', 'established', 'dst', host, 'sport', '=', `:${port}`];
    await runChild('ss', ['--kill', '--tcp', '--numeric', ...filter], {
      timeoutMs: killMs,
      signal,
    });
  }
}
