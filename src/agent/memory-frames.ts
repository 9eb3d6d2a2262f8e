/**
 * What agents tell each other of dispatchers' memory, over a stream: length of what follows (4 bytes,
 * little-endian as all here), kind (1), body.
 *
 *   service   what `packMemory` makes, of one service
 *   members   MACs, 6 bytes each, by the ID that flows name members by
 *   flows     as `changedFlows` makes them
 *   round     number (4), names of all services there are, one a line: all was told up to here
 *   heard     number (4): the answer to a round
 */
const kinds = ['service', 'members', 'flows', 'round', 'heard'] as const;
export type FrameKind = (typeof kinds)[number];

export interface Frame {
  readonly kind: FrameKind;
  readonly body: Buffer;
}

const headBytes = 5;
/** More than a ring with members' names takes, deflated or not. */
export const mostFrameBytes = 768 * 1024;

export function frameBytes(kind: FrameKind, body: Buffer): Buffer {
  const head = Buffer.alloc(headBytes);
  head.writeUInt32LE(body.length + 1);
  head[4] = kinds.indexOf(kind);
  return Buffer.concat([head, body]);
}

/** Cuts a stream into frames. */
export class FrameReader {
  #chunks: Buffer[] = [];
  #waiting = 0;

  /** @throws {RangeError} for what is no frame; there is no way on then */
  *take(chunk: Buffer): Generator<Frame> {
    this.#chunks.push(chunk);
    this.#waiting += chunk.length;
    while (this.#waiting >= headBytes) {
      const head = this.#joined();
      const length = head.readUInt32LE(0);
      const kind = kinds[head[4] ?? kinds.length];
      if (kind === undefined || length < 1 || length > mostFrameBytes) {
        throw new RangeError(`a frame of ${length} bytes`);
      }
      if (this.#waiting < 4 + length) return;
      const [only] = this.#chunks;
      const all = this.#chunks.length === 1 && only ? only : Buffer.concat(this.#chunks);
      const rest = all.subarray(4 + length);
      this.#chunks = rest.length === 0 ? [] : [rest];
      this.#waiting = rest.length;
      yield { kind, body: all.subarray(headBytes, 4 + length) };
    }
  }

  /** The first chunk, made long enough for a head. */
  #joined(): Buffer {
    const [first = Buffer.alloc(0)] = this.#chunks;
    if (first.length >= headBytes) return first;
    const joined = Buffer.concat(this.#chunks);
    this.#chunks = [joined];
    return joined;
  }
}

export function roundBody(number: number, services: readonly string[]): Buffer {
  return Buffer.concat([numberBody(number), Buffer.from(services.join('\n'))]);
}

export function roundOf(body: Buffer): { readonly number: number; readonly names: Set<string> } {
  const text = body.toString('utf8', 4);
  return { number: numberOf(body), names: new Set(text === '' ? [] : text.split('\n')) };
}

export function numberBody(number: number): Buffer {
  const body = Buffer.alloc(4);
  body.writeUInt32LE(number >>> 0);
  return body;
}

/** @throws {RangeError} */
export function numberOf(body: Buffer): number {
  return body.readUInt32LE(0);
}

const macBytes = 6;
/** As many as there are IDs. */
const mostMacs = 4096;

export function macsBody(macs: readonly string[]): Buffer {
  return Buffer.concat(macs.map((mac) => Buffer.from(mac.replaceAll(':', ''), 'hex')));
}

/** @throws {RangeError} */
export function macsOf(body: Buffer): readonly string[] {
  if (body.length % macBytes !== 0 || body.length > mostMacs * macBytes) {
    throw new RangeError(`${body.length} bytes of MACs`);
  }
  return Array.from({ length: body.length / macBytes }, (_, at) => {
    const hex = body.toString('hex', at * macBytes, (at + 1) * macBytes);
    return (hex.match(/../g) ?? []).join(':');
  });
}
