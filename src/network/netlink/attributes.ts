/**
 * Netlink attributes: length, type, payload, padded to four bytes (netlink(7), struct nlattr).
 * Integers are in host order. Only little-endian machines are supported (LinuxNetwork refuses to
 * start on others: s390x is the one Node still runs on); what the protocol wants big-endian says so.
 */
const HEADER_BYTES = 4;
/** The two upper bits of a type are flags: nested, network byte order. */
const TYPE_MASK = 0x3fff;
const NESTED = 0x8000;

const align = (length: number): number => (length + 3) & ~3;

export function attribute(type: number, payload: Uint8Array): Buffer {
  const bytes = Buffer.alloc(align(HEADER_BYTES + payload.length));
  bytes.writeUInt16LE(HEADER_BYTES + payload.length, 0);
  bytes.writeUInt16LE(type, 2);
  bytes.set(payload, HEADER_BYTES);
  return bytes;
}

export function nested(type: number, ...attributes: readonly Buffer[]): Buffer {
  return attribute(type | NESTED, Buffer.concat(attributes));
}

export function u8(type: number, value: number): Buffer {
  return attribute(type, Uint8Array.of(value));
}

export function u16be(type: number, value: number): Buffer {
  return attribute(type, Uint8Array.of(value >> 8, value & 0xff));
}

export function u16(type: number, value: number): Buffer {
  return attribute(type, Uint8Array.of(value & 0xff, value >> 8));
}

export function u32(type: number, value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(value);
  return attribute(type, bytes);
}

/** Zero-terminated. */
export function text(type: number, value: string): Buffer {
  return attribute(type, Buffer.from(`${value}\0`));
}

/** A message or attribute that does not keep to its own lengths. The kernel never sends one. */
export class MalformedMessage extends Error {
  constructor(what: string) {
    super(`malformed netlink message: ${what}`);
    this.name = 'MalformedMessage';
  }
}

/** Payloads by type; the last one counts where a type is repeated. */
export class Attributes {
  readonly #payloads = new Map<number, Buffer>();

  /** @throws {MalformedMessage} when an attribute reaches beyond `bytes` */
  constructor(bytes: Buffer) {
    let offset = 0;
    while (offset + HEADER_BYTES <= bytes.length) {
      const length = bytes.readUInt16LE(offset);
      if (length < HEADER_BYTES || offset + length > bytes.length) {
        throw new MalformedMessage(`attribute of ${length} bytes at ${offset} of ${bytes.length}`);
      }
      const type = bytes.readUInt16LE(offset + 2) & TYPE_MASK;
      this.#payloads.set(type, bytes.subarray(offset + HEADER_BYTES, offset + length));
      offset += align(length);
    }
  }

  bytes(type: number): Buffer | undefined {
    return this.#payloads.get(type);
  }

  u8(type: number): number | undefined {
    return this.#sized(type, 1)?.readUInt8(0);
  }

  u16be(type: number): number | undefined {
    return this.#sized(type, 2)?.readUInt16BE(0);
  }

  u16(type: number): number | undefined {
    return this.#sized(type, 2)?.readUInt16LE(0);
  }

  u32(type: number): number | undefined {
    return this.#sized(type, 4)?.readUInt32LE(0);
  }

  /** Up to the terminating zero. */
  text(type: number): string | undefined {
    const payload = this.#payloads.get(type);
    if (payload === undefined) return undefined;
    const end = payload.indexOf(0);
    return payload.toString('utf8', 0, end < 0 ? payload.length : end);
  }

  nested(type: number): Attributes | undefined {
    const payload = this.#payloads.get(type);
    return payload === undefined ? undefined : new Attributes(payload);
  }

  #sized(type: number, size: number): Buffer | undefined {
    const payload = this.#payloads.get(type);
    if (payload !== undefined && payload.length < size) {
      throw new MalformedMessage(`attribute ${type} has ${payload.length} bytes, not ${size}`);
    }
    return payload;
  }
}
