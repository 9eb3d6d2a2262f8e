import { existsSync, writeFileSync } from 'node:fs';
import { messageOf, UnderstudyError } from '../errors.js';

/**
 * Kernel settings of a namespace. /proc/sys/net shows the namespace of the thread that opens it, so
 * all of these run inside `inNetworkNamespace` (Node's synchronous file calls stay on their thread).
 * Documentation/networking/ip-sysctl.rst says what each one means.
 */
const root = '/proc/sys/net';

/**
 * In a role's namespace, before it has any NIC. IPv4 settings of a new namespace are copied from
 * the machine's first one, so what matters is written even where it is the kernel's default.
 */
export function prepareRoleNamespace(): void {
  // First: it resets some of those below. A personality must not route because its host does.
  write('ipv4/ip_forward', 0);
  for (const scope of ['all', 'default']) {
    writeAll(`ipv4/conf/${scope}`, {
      // Answer ARP only for addresses of the NIC asked on: never for a VIP held on lo.
      arp_ignore: 1,
      // Never tell others a VIP held on lo as sender of an ARP request: they would believe it.
      arp_announce: 2,
      // Loose: the answer to a client may leave by another NIC than the request came in by.
      rp_filter: 2,
      // A frame that claims to come from one of our own addresses is refused.
      accept_local: 0,
      arp_filter: 0,
      arp_notify: 0,
      proxy_arp: 0,
      drop_gratuitous_arp: 0,
      accept_redirects: 0,
      send_redirects: 0,
    });
  }
  silenceIpv6();
}

/** In the namespace of a network's device: it carries frames for NICs and says nothing itself. */
export function prepareNetworkNamespace(): void {
  write('ipv4/ip_forward', 0);
  silenceIpv6();
}

/**
 * New devices start without IPv6, so that nothing but our announcement leaves with a vMAC: no MLD, no
 * duplicate address detection, no router solicitation. Where it is switched on it asks nobody.
 */
function silenceIpv6(): void {
  // A kernel booted with ipv6.disable=1 has none of it.
  if (!existsSync(`${root}/ipv6/conf/default`)) return;
  writeAll('ipv6/conf/default', {
    disable_ipv6: 1,
    accept_ra: 0,
    autoconf: 0,
    // No link-local address by itself (1: none); ours follows from the vMAC.
    addr_gen_mode: 1,
    router_solicitations: 0,
    dad_transmits: 0,
    accept_dad: 0,
    ndisc_notify: 0,
    accept_redirects: 0,
  });
}

/**
 * What may wait for a neighbour on the underlay that does not answer, in bytes. Packets that wait stay
 * charged to the sockets that sent them; VXLAN copies each broadcast to every member of a network, so by
 * default (208 KiB) one dead member makes the kernel refuse the sends of all the living.
 */
const unresolvedBytes = 4_096;

/** On the host's NIC that VXLAN leaves by. */
export function boundUnresolved(interfaceName: string): void {
  for (const family of ['ipv4', 'ipv6']) {
    const folder = `${family}/neigh/${interfaceName}`;
    if (existsSync(`${root}/${folder}`)) write(`${folder}/unres_qlen_bytes`, unresolvedBytes);
  }
}

/** Switches IPv6 of one NIC on or off; off takes its addresses away. */
export function setIpv6(interfaceName: string, on: boolean): void {
  if (!on && !existsSync(`${root}/ipv6/conf/${interfaceName}`)) return;
  write(`ipv6/conf/${interfaceName}/disable_ipv6`, on ? 0 : 1);
}

function writeAll(folder: string, values: Readonly<Record<string, number>>): void {
  for (const [name, value] of Object.entries(values)) write(`${folder}/${name}`, value);
}

function write(path: string, value: number): void {
  try {
    writeFileSync(`${root}/${path}`, `${value}\n`);
  } catch (thrown) {
    throw new UnderstudyError(
      {
        code: 'US_NET_SYSCTL',
        action: 'cannot set',
        object: `net.${path.replaceAll('/', '.')} = ${value}`,
        cause: messageOf(thrown),
        remedy: 'make /proc/sys writable for the agent (a container needs it mounted read-write)',
      },
      { cause: thrown },
    );
  }
}
