import { messageOf, UnderstudyError } from '../errors.js';
import { type Cidr, ipBytes, linkLocalOf, macBytes, macText } from './addresses.js';
import {
  advertisementFilter,
  arpReplyFilter,
  arpRequest,
  type Claim,
  ETH_P_ARP,
  ETH_P_IPV6,
  neighbourSolicitation,
  parseAdvertisement,
  parseArpReply,
} from './frames.js';
import type { Namespaces } from './namespaces.js';
import { abortedError, type Purpose } from './netlink/error.js';
import { listAddresses } from './netlink/ip-addresses.js';
import { listLinks } from './netlink/links.js';
import { PacketSocket } from './packet-socket.js';
import { noNic } from './refusals.js';
import { parseTag } from './tag.js';
import type { ProbeResult } from './types.js';

/** The question is asked this often within the time given: one frame may be lost. */
const questions = 4;

/** Asks for `address` out of `from`'s NIC on `network`, and waits for the first answer. */
export async function probe(
  namespaces: Namespaces,
  from: string,
  network: string,
  address: string,
  timeoutMs: number,
  signal: AbortSignal,
): Promise<ProbeResult> {
  const purpose = { action: 'cannot ask for', object: `${address} on ${network} from ${from}` };
  const wanted = ipBytes(address);
  const path = namespaces.rolePath(from);
  if (!namespaces.exists(path)) throw noNic(purpose, `there is no namespace ${path}`);
  const netlink = namespaces.at(path);
  const options = { purpose, signal };
  const [links, addresses] = await Promise.all([
    listLinks(netlink, options),
    listAddresses(netlink, options),
  ]);
  const link = links.find(({ alias }) => {
    const tag = parseTag(alias);
    return tag?.kind === 'role' && tag.network === network;
  });
  if (link === undefined || !link.up) throw noNic(purpose, `${from} has no NIC up on ${network}`);
  const own = addresses.filter(({ linkIndex }) => linkIndex === link.index);
  const question = questionFor(macBytes(link.mac), own, wanted);
  const mac = await ask(path, link.index, question, wanted, { timeoutMs, signal, purpose });
  return { address, mac };
}

/** The frame to send. Pure. */
export function questionFor(mac: Buffer, own: readonly Cidr[], wanted: Buffer): Buffer {
  const source = own.find(({ bytes }) => bytes.length === wanted.length)?.bytes;
  return wanted.length === 4
    ? arpRequest(mac, source ?? Buffer.alloc(4), wanted)
    : neighbourSolicitation(mac, source ?? linkLocalOf(mac), wanted);
}

/**
 * The MAC that answers, or undefined. Where the frame comes from another MAC than the one it
 * speaks for, somebody answers in another's name: then the one it comes from.
 */
export function answerOf(claim: Claim | undefined, wanted: Buffer): string | undefined {
  if (claim === undefined || !claim.address.equals(wanted)) return undefined;
  return macText(claim.ethernetSource);
}

interface Waiting {
  readonly timeoutMs: number;
  readonly signal: AbortSignal;
  readonly purpose: Purpose;
}

function ask(
  path: string,
  linkIndex: number,
  question: Buffer,
  wanted: Buffer,
  { timeoutMs, signal, purpose }: Waiting,
): Promise<string | undefined> {
  const ipv4 = wanted.length === 4;
  const parse = ipv4 ? parseArpReply : parseAdvertisement;
  return new Promise((resolve, reject) => {
    if (signal.aborted) return reject(abortedError(purpose));
    const socket = open(path, linkIndex, ipv4, purpose);
    const finish = (act: () => void) => {
      clearTimeout(end);
      clearInterval(again);
      signal.removeEventListener('abort', onAbort);
      socket.close();
      act();
    };
    const onAbort = () => finish(() => reject(abortedError(purpose)));
    const guarded = (act: () => void) => () => {
      try {
        act();
      } catch (thrown) {
        finish(() => reject(sendError(purpose, thrown)));
      }
    };
    const send = guarded(() => socket.send(question));
    const receive = guarded(() => {
      for (const frame of socket.received()) {
        const mac = answerOf(parse(frame), wanted);
        if (mac !== undefined) return finish(() => resolve(mac));
      }
    });
    const end = setTimeout(() => finish(() => resolve(undefined)), timeoutMs);
    const again = setInterval(send, Math.max(1, timeoutMs / questions));
    signal.addEventListener('abort', onAbort, { once: true });
    socket.onReadable(receive);
    send();
  });
}

function open(path: string, linkIndex: number, ipv4: boolean, purpose: Purpose): PacketSocket {
  try {
    return ipv4
      ? new PacketSocket(path, linkIndex, ETH_P_ARP, arpReplyFilter)
      : new PacketSocket(path, linkIndex, ETH_P_IPV6, advertisementFilter);
  } catch (thrown) {
    throw sendError(purpose, thrown);
  }
}

function sendError(purpose: Purpose, thrown: unknown): UnderstudyError {
  return new UnderstudyError(
    {
      code: 'US_NET_SEND',
      ...purpose,
      cause: messageOf(thrown),
      remedy: 'look whether the NIC it is asked from is up: understudy status',
    },
    { cause: thrown },
  );
}
