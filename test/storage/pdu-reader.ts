const headerBytes = 48;

/** What two ends agreed to when they logged in. */
export interface Agreed {
  /** Behind each header. */
  readonly digestBytes: number;
}

/** Cuts a stream into PDUs: header, additional header segments, data padded to words (RFC 7143, 11.2.1). */
export class PduReader {
  #held: Buffer = Buffer.alloc(0);
  readonly #session: Agreed;
  readonly #onPdu: (pdu: Buffer) => void;

  constructor(session: Agreed, onPdu: (pdu: Buffer) => void) {
    this.#session = session;
    this.#onPdu = onPdu;
  }

  take(chunk: Buffer): void {
    this.#held = this.#held.length === 0 ? chunk : Buffer.concat([this.#held, chunk]);
    while (this.#held.length >= headerBytes) {
      const dataBytes = Math.ceil(this.#held.readUIntBE(5, 3) / 4) * 4;
      const { digestBytes } = this.#session;
      const length = headerBytes + (this.#held[4] ?? 0) * 4 + digestBytes + dataBytes;
      if (this.#held.length < length) return;
      const pdu = this.#held.subarray(0, length);
      this.#held = this.#held.subarray(length);
      this.#onPdu(pdu);
    }
  }
}
