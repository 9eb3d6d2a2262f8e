import { ipBytes, ipText, macBytes, macText } from '../addresses.js';
import { Attributes, attribute, MalformedMessage } from './attributes.js';
import { dump } from './dump.js';
import { KernelError } from './error.js';
import { NLM_F_APPEND, NLM_F_CREATE, NLM_F_REPLACE } from './message.js';
import type { NetlinkTransport, RequestOptions } from './transport.js';

/**
 * Neighbours: which MAC an address has, and for a VXLAN device which host a MAC is behind. Both are
 * RTM_*NEIGH; the second is family AF_BRIDGE (rtnetlink(7), bridge(8)).
 */
const RTM_NEWNEIGH = 28;
const RTM_DELNEIGH = 29;
const RTM_GETNEIGH = 30;
const HEADER_BYTES = 12;

const AF_INET = 2;
const AF_BRIDGE = 7;
const AF_INET6 = 10;
const NDA_DST = 1;
const NDA_LLADDR = 2;
const NUD_INCOMPLETE = 0x01;
const NUD_NOARP = 0x40;
const NUD_PERMANENT = 0x80;
const NTF_SELF = 0x02;

export interface Neighbour {
  readonly linkIndex: number;
  readonly address: string;
  /** '' while it is not resolved. */
  readonly mac: string;
}

/** Entry of a VXLAN device: frames to `mac` go to the host at `via`. MAC zero: what is flooded. */
export interface ForwardingEntry {
  readonly linkIndex: number;
  readonly mac: string;
  readonly via: string;
}

/** MAC of the entries that broadcast, multicast and unknown unicast frames go by. */
export const floodMac = '00:00:00:00:00:00';

/** Equals: `ip neighbour show` */
export async function listNeighbours(
  netlink: NetlinkTransport,
  options: RequestOptions,
): Promise<readonly Neighbour[]> {
  const bodies = await dump(netlink, RTM_GETNEIGH, Buffer.alloc(HEADER_BYTES), options);
  return bodies.flatMap((body) => {
    const { linkIndex, mac, destination } = decodeNeighbour(body);
    return destination === undefined ? [] : [{ linkIndex, mac, address: ipText(destination) }];
  });
}

/**
 * Neighbours that were asked for and have not answered yet; what is sent to them waits.
 *
 * Equals: `ip neighbour show dev NAME nud incomplete`
 */
export async function listUnresolved(
  netlink: NetlinkTransport,
  linkIndex: number,
  options: RequestOptions,
): Promise<readonly Omit<Neighbour, 'mac'>[]> {
  const bodies = await dump(netlink, RTM_GETNEIGH, Buffer.alloc(HEADER_BYTES), options);
  return bodies.flatMap((body) => {
    const found = decodeNeighbour(body);
    const waits = found.linkIndex === linkIndex && (found.state & NUD_INCOMPLETE) !== 0;
    if (!waits || found.destination === undefined) return [];
    return [{ linkIndex, address: ipText(found.destination) }];
  });
}

/** Equals: `ip neighbour replace ADDRESS lladdr MAC dev NAME nud permanent` */
export async function setNeighbour(
  netlink: NetlinkTransport,
  neighbour: Neighbour,
  options: RequestOptions,
): Promise<void> {
  const address = ipBytes(neighbour.address);
  const body = Buffer.concat([
    header(familyOf(address), neighbour.linkIndex, NUD_PERMANENT, 0),
    attribute(NDA_DST, address),
    attribute(NDA_LLADDR, macBytes(neighbour.mac)),
  ]);
  await netlink.request({ type: RTM_NEWNEIGH, flags: NLM_F_CREATE | NLM_F_REPLACE, body }, options);
}

/** Equals: `ip neighbour del ADDRESS dev NAME` */
export async function removeNeighbour(
  netlink: NetlinkTransport,
  neighbour: Omit<Neighbour, 'mac'>,
  options: RequestOptions,
): Promise<void> {
  const address = ipBytes(neighbour.address);
  const body = Buffer.concat([
    header(familyOf(address), neighbour.linkIndex, 0, 0),
    attribute(NDA_DST, address),
  ]);
  await ignoring('ENOENT', netlink.request({ type: RTM_DELNEIGH, flags: 0, body }, options));
}

/** Equals: `bridge fdb show dev NAME`, one entry for each destination. */
export async function listForwarding(
  netlink: NetlinkTransport,
  linkIndex: number,
  options: RequestOptions,
): Promise<readonly ForwardingEntry[]> {
  const bodies = await dump(netlink, RTM_GETNEIGH, header(AF_BRIDGE, linkIndex, 0, 0), options);
  return bodies.flatMap((body) => {
    const entry = decodeNeighbour(body);
    if (entry.linkIndex !== linkIndex || entry.destination === undefined) return [];
    return [{ linkIndex, mac: entry.mac, via: ipText(entry.destination) }];
  });
}

/**
 * Points a MAC at one host, wherever it pointed before.
 *
 * Equals: `bridge fdb replace MAC dev NAME dst VIA self permanent`
 */
export async function replaceForwarding(
  netlink: NetlinkTransport,
  entry: ForwardingEntry,
  options: RequestOptions,
): Promise<void> {
  await sendEntry(netlink, entry, NLM_F_CREATE | NLM_F_REPLACE, options);
}

/**
 * Adds one more destination to a MAC: for the flood entry, which may have many.
 *
 * Equals: `bridge fdb append 00:00:00:00:00:00 dev NAME dst VIA self permanent`
 */
export async function appendForwarding(
  netlink: NetlinkTransport,
  entry: ForwardingEntry,
  options: RequestOptions,
): Promise<void> {
  const appended = sendEntry(netlink, entry, NLM_F_CREATE | NLM_F_APPEND, options);
  await ignoring('EEXIST', appended);
}

/** Equals: `bridge fdb del MAC dev NAME dst VIA self` */
export async function removeForwarding(
  netlink: NetlinkTransport,
  entry: ForwardingEntry,
  options: RequestOptions,
): Promise<void> {
  const request = { type: RTM_DELNEIGH, flags: 0, body: encodeEntry(entry) };
  await ignoring('ENOENT', netlink.request(request, options));
}

async function sendEntry(
  netlink: NetlinkTransport,
  entry: ForwardingEntry,
  flags: number,
  options: RequestOptions,
): Promise<void> {
  await netlink.request({ type: RTM_NEWNEIGH, flags, body: encodeEntry(entry) }, options);
}

function encodeEntry(entry: ForwardingEntry): Buffer {
  return Buffer.concat([
    header(AF_BRIDGE, entry.linkIndex, NUD_NOARP | NUD_PERMANENT, NTF_SELF),
    attribute(NDA_LLADDR, macBytes(entry.mac)),
    attribute(NDA_DST, ipBytes(entry.via)),
  ]);
}

/** struct ndmsg. */
function header(family: number, linkIndex: number, state: number, flags: number): Buffer {
  const bytes = Buffer.alloc(HEADER_BYTES);
  bytes.writeUInt8(family, 0);
  bytes.writeInt32LE(linkIndex, 4);
  bytes.writeUInt16LE(state, 8);
  bytes.writeUInt8(flags, 10);
  return bytes;
}

function familyOf(address: Buffer): number {
  return address.length === 4 ? AF_INET : AF_INET6;
}

/** @throws {MalformedMessage} */
export function decodeNeighbour(body: Buffer): {
  readonly linkIndex: number;
  /** NUD_ bits. */
  readonly state: number;
  readonly mac: string;
  readonly destination: Buffer | undefined;
} {
  if (body.length < HEADER_BYTES) throw new MalformedMessage('short neighbour');
  const attributes = new Attributes(body.subarray(HEADER_BYTES));
  const destination = attributes.bytes(NDA_DST);
  if (destination !== undefined && destination.length !== 4 && destination.length !== 16) {
    throw new MalformedMessage(`address of ${destination.length} bytes`);
  }
  const mac = macText(attributes.bytes(NDA_LLADDR) ?? Buffer.alloc(0));
  return { linkIndex: body.readInt32LE(4), state: body.readUInt16LE(8), mac, destination };
}

async function ignoring(errnoName: string, result: Promise<unknown>): Promise<void> {
  try {
    await result;
  } catch (thrown) {
    if (!(thrown instanceof KernelError && thrown.errnoName === errnoName)) throw thrown;
  }
}
