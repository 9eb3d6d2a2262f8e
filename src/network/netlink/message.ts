import { Attributes, MalformedMessage } from './attributes.js';

/** Netlink messages: a 16 byte header, a family's own header, attributes (netlink(7), RFC 3549). */
export const HEADER_BYTES = 16;

export const NLM_F_REQUEST = 0x001;
export const NLM_F_ACK = 0x004;
export const NLM_F_DUMP = 0x300;
/** In requests that make something: change what is there; fail if it is there; make it; add to a list. */
export const NLM_F_REPLACE = 0x100;
export const NLM_F_EXCL = 0x200;
export const NLM_F_CREATE = 0x400;
export const NLM_F_APPEND = 0x800;

/** In answers: the dump is inconsistent because something changed meanwhile. */
const NLM_F_DUMP_INTR = 0x10;
/** In acknowledgements: the request is not repeated in full; extended attributes follow. */
const NLM_F_CAPPED = 0x100;
const NLM_F_ACK_TLVS = 0x200;

const NLMSG_NOOP = 1;
const NLMSG_ERROR = 2;
const NLMSG_DONE = 3;
const NLMSGERR_ATTR_MSG = 1;

export interface Request {
  readonly type: number;
  /** Beside NLM_F_REQUEST and NLM_F_ACK, which are always set. */
  readonly flags: number;
  /** The family's header and the attributes. */
  readonly body: Buffer;
}

export function encodeRequest(request: Request, sequence: number): Buffer {
  const header = Buffer.alloc(HEADER_BYTES);
  header.writeUInt32LE(HEADER_BYTES + request.body.length, 0);
  header.writeUInt16LE(request.type, 4);
  header.writeUInt16LE(request.flags | NLM_F_REQUEST | NLM_F_ACK, 6);
  header.writeUInt32LE(sequence, 8);
  return Buffer.concat([header, request.body]);
}

export type Answer =
  | {
      readonly kind: 'part';
      readonly sequence: number;
      readonly interrupted: boolean;
      readonly type: number;
      readonly body: Buffer;
    }
  /** errno 0: done. `words` is what the kernel says about it, if it says anything. */
  | {
      readonly kind: 'end';
      readonly sequence: number;
      readonly interrupted: boolean;
      readonly errno: number;
      readonly words: string | undefined;
    };

/**
 * Splits one datagram into its messages.
 *
 * @throws {MalformedMessage} when a message reaches beyond the datagram
 */
export function decodeDatagram(bytes: Buffer): Answer[] {
  const answers: Answer[] = [];
  let offset = 0;
  while (offset + HEADER_BYTES <= bytes.length) {
    const length = bytes.readUInt32LE(offset);
    if (length < HEADER_BYTES || offset + length > bytes.length) {
      throw new MalformedMessage(`message of ${length} bytes at ${offset} of ${bytes.length}`);
    }
    const answer = decodeMessage(bytes.subarray(offset, offset + length));
    if (answer !== undefined) answers.push(answer);
    offset += (length + 3) & ~3;
  }
  return answers;
}

function decodeMessage(message: Buffer): Answer | undefined {
  const type = message.readUInt16LE(4);
  const flags = message.readUInt16LE(6);
  const sequence = message.readUInt32LE(8);
  const body = message.subarray(HEADER_BYTES);
  const interrupted = (flags & NLM_F_DUMP_INTR) !== 0;
  if (type === NLMSG_NOOP) return undefined;
  if (type !== NLMSG_ERROR && type !== NLMSG_DONE) {
    return { kind: 'part', sequence, interrupted, type, body };
  }
  // DONE carries a status too, since Linux 4.x; before, it could be empty.
  const errno = body.length >= 4 ? -body.readInt32LE(0) : 0;
  const words = (flags & NLM_F_ACK_TLVS) === 0 ? undefined : extendedWords(type, flags, body);
  return { kind: 'end', sequence, interrupted, errno, words };
}

/**
 * The text of an extended acknowledgement (include/uapi/linux/netlink.h, nlmsgerr_attrs). In ERROR
 * it follows the header of the request that was refused, or all of it; in DONE the status.
 */
function extendedWords(type: number, flags: number, body: Buffer): string | undefined {
  let offset = 4;
  if (type === NLMSG_ERROR) {
    if (body.length < 4 + HEADER_BYTES) throw new MalformedMessage('short error');
    const repeated = (flags & NLM_F_CAPPED) === 0 ? body.readUInt32LE(4) : HEADER_BYTES;
    offset += (repeated + 3) & ~3;
  }
  return new Attributes(body.subarray(offset)).text(NLMSGERR_ATTR_MSG);
}
