import { messageOf, UnderstudyError } from '../errors.js';
import { macBytes, parseCidr } from './addresses.js';
import { gratuitousArps, unsolicitedAdvertisement } from './frames.js';
import type { Namespaces } from './namespaces.js';
import type { Purpose } from './netlink/error.js';
import { type Link, listLinks } from './netlink/links.js';
import { PacketSocket } from './packet-socket.js';
import { noNic } from './refusals.js';
import type { AnnounceSpec, NicSpec } from './types.js';

/** Sends one burst out of each NIC: what every address of it is announced with. */
export async function announce(
  namespaces: Namespaces,
  spec: AnnounceSpec,
  signal: AbortSignal,
): Promise<void> {
  const purpose = { action: 'cannot announce', object: spec.name };
  const path = namespaces.rolePath(spec.name);
  if (!namespaces.exists(path)) throw noNic(purpose, `there is no namespace ${path}`);
  const links = await listLinks(namespaces.at(path), { purpose, signal });
  for (const nic of spec.nics) {
    const frames = announcements(nic);
    if (frames.length > 0) sendAll(path, nicOf(links, nic, purpose), frames, purpose);
  }
}

/** Both ARP forms or an unsolicited advertisement for each address. Pure. */
export function announcements(nic: NicSpec): readonly Buffer[] {
  const mac = macBytes(nic.mac);
  return nic.addresses
    .map(parseCidr)
    .flatMap(({ family, bytes }) =>
      family === 'ipv4' ? gratuitousArps(mac, bytes) : [unsolicitedAdvertisement(mac, bytes)],
    );
}

function nicOf(links: readonly Link[], nic: NicSpec, purpose: Purpose): Link {
  const found = links.find(({ mac, kind }) => mac === nic.mac.toLowerCase() && kind === 'macvlan');
  if (found === undefined) throw noNic(purpose, `no NIC there has the MAC ${nic.mac}`);
  if (!found.up) throw noNic(purpose, `${found.name} (${nic.mac}) is down`);
  return found;
}

function sendAll(path: string, link: Link, frames: readonly Buffer[], purpose: Purpose): void {
  try {
    const socket = new PacketSocket(path, link.index, 0);
    try {
      for (const frame of frames) socket.send(frame);
    } finally {
      socket.close();
    }
  } catch (thrown) {
    throw new UnderstudyError(
      {
        code: 'US_NET_SEND',
        ...purpose,
        cause: `${link.name} does not take the frame: ${messageOf(thrown)}`,
        remedy: 'nothing: it is repeated; if this persists, check the NIC of the internal network',
      },
      { cause: thrown },
    );
  }
}
