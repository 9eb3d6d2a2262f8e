/**
 * Reads what `tcpdump -w -` writes (pcap, libpcap's savefile(5)), frame by frame, as it comes.
 */
export interface Captured {
  /** Wall clock of the capture, ms. */
  readonly atMs: number;
  readonly frame: Buffer;
}

const magicMicroseconds = 0xa1b2c3d4;
const fileHeaderBytes = 24;
const recordHeaderBytes = 16;

export class PcapReader {
  #rest: Buffer = Buffer.alloc(0);
  #headerSeen = false;

  /** Takes the next bytes of the stream, returns the frames that are complete. */
  push(chunk: Buffer): readonly Captured[] {
    this.#rest = Buffer.concat([this.#rest, chunk]);
    if (!this.#headerSeen) {
      if (this.#rest.length < fileHeaderBytes) return [];
      if (this.#rest.readUInt32LE(0) !== magicMicroseconds) {
        throw new Error('not a little-endian pcap stream with microseconds');
      }
      this.#rest = this.#rest.subarray(fileHeaderBytes);
      this.#headerSeen = true;
    }
    const frames: Captured[] = [];
    while (this.#rest.length >= recordHeaderBytes) {
      const length = this.#rest.readUInt32LE(8);
      const end = recordHeaderBytes + length;
      if (this.#rest.length < end) break;
      const atMs = this.#rest.readUInt32LE(0) * 1_000 + this.#rest.readUInt32LE(4) / 1_000;
      frames.push({ atMs, frame: Buffer.from(this.#rest.subarray(recordHeaderBytes, end)) });
      this.#rest = this.#rest.subarray(end);
    }
    return frames;
  }
}
