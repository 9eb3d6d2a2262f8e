/** Cuts a stream into lines of bounded length. */
export class LineReader {
  readonly #longestBytes: number;
  #parts: Buffer[] = [];
  #heldBytes = 0;

  constructor(longestBytes: number) {
    this.#longestBytes = longestBytes;
  }

  /** The lines that `chunk` completes; undefined once a line is longer than allowed. */
  feed(chunk: Buffer): readonly string[] | undefined {
    const lines: string[] = [];
    let start = 0;
    for (;;) {
      const end = chunk.indexOf(0x0a, start);
      const piece = chunk.subarray(start, end < 0 ? chunk.length : end);
      this.#heldBytes += piece.length;
      if (this.#heldBytes > this.#longestBytes) return undefined;
      this.#parts.push(piece);
      if (end < 0) return lines;
      lines.push(Buffer.concat(this.#parts).toString('utf8'));
      this.#parts = [];
      this.#heldBytes = 0;
      start = end + 1;
    }
  }
}
