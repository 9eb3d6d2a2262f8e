import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import ipaddr from 'ipaddr.js';

/** A socket that takes what comes to a port. */
export interface Listening {
  readonly protocol: 'tcp' | 'udp';
  /** '::' and '0.0.0.0' for every address. */
  readonly address: string;
  readonly port: number;
}

const tables = [
  ['tcp', 'tcp', '0A'],
  ['tcp6', 'tcp', '0A'],
  // An unconnected UDP socket (include/net/tcp_states.h: TCP_CLOSE).
  ['udp', 'udp', '07'],
  ['udp6', 'udp', '07'],
] as const;

/** @param folder `/proc/…/net` of the network namespace (proc_net(5)) */
export function listeningIn(folder: string): readonly Listening[] {
  return tables.flatMap(([file, protocol, state]) => {
    const path = join(folder, file);
    if (!existsSync(path)) return [];
    const lines = readFileSync(path, 'utf8').trim().split('\n').slice(1);
    return lines.flatMap((line) => {
      const [, local = '', , now] = line.trim().split(/\s+/);
      const [address = '', port = ''] = local.split(':');
      if (now !== state) return [];
      return [{ protocol, address: addressOf(address), port: Number.parseInt(port, 16) }];
    });
  });
}

/** Words of 32 bits as this machine has them in memory: little-endian on all that are supported. */
function addressOf(hex: string): string {
  return ipaddr.fromByteArray([...Buffer.from(hex, 'hex').swap32()]).toString();
}

/** Whether somebody takes what comes there; else, on which other addresses somebody takes that port. */
export function heardOf(
  listening: readonly Listening[],
  wanted: Listening,
): { readonly heard: boolean; readonly others: readonly string[] } {
  const same = listening.filter(
    ({ protocol, port }) => protocol === wanted.protocol && port === wanted.port,
  );
  const own = ipaddr.parse(wanted.address);
  // A socket for every IPv6 address takes IPv4 as well, unless it is told not to (ipv6(7)).
  const every = own.kind() === 'ipv6' ? ['::'] : ['0.0.0.0', '::'];
  const fits = [own.toString(), ...every, ...(own.kind() === 'ipv4' ? [`::ffff:${own}`] : [])];
  const heard = same.some(({ address }) =>
    fits.some((one) => ipaddr.parse(one).toString() === address),
  );
  return { heard, others: [...new Set(same.map(({ address }) => address))] };
}
