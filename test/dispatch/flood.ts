import { closeFd } from '../../src/ffi/bpf-map.js';
import type { TestNamespace } from '../bpf-net.js';
import { openFrames, send } from './frames.js';
import { ethernet, ipv4, tcp } from './packets.js';
import { v4, vmac } from './program-cases.js';
import { vip4 } from './stage.js';

const atOnce = 32;
const SYN = 0x02;

/** SYNs from one address and port after the other. */
export class Syns {
  readonly #frame: Buffer;
  #made = 0;

  constructor(mac: string, address: string, port: number) {
    this.#frame = ethernet(
      mac,
      '02:00:00:00:ee:ff',
      v4,
      ipv4({ from: '11.0.0.0', to: address, protocol: 6 }, tcp(1_024, port, '', SYN)),
    );
  }

  get made(): number {
    return this.#made;
  }

  /** The same buffer each time. */
  next(): Buffer {
    this.#made += 1;
    this.#frame.writeUInt32BE(0x0b00_0000 + (this.#made & 0xff_ffff), 26);
    this.#frame.writeUInt16BE(1_024 + (this.#made % 50_000), 34);
    setHeaderChecksum(this.#frame);
    return this.#frame;
  }
}

/** SYNs to the service's port 7, until it is ended. */
export class Flood {
  readonly #fd: number;
  readonly #syns = new Syns(vmac, vip4, 7);
  #ended = false;

  constructor(at: TestNamespace, device: string) {
    this.#fd = openFrames(at, device);
    this.#go();
  }

  end(): void {
    if (!this.#ended) closeFd(this.#fd);
    this.#ended = true;
  }

  #go(): void {
    if (this.#ended) return;
    for (let count = 0; count < atOnce; count += 1) {
      const frame = this.#syns.next();
      send(this.#fd, frame, frame.length, 0);
    }
    setImmediate(() => this.#go());
  }
}

/** A bridge between drops what has a wrong one (br_validate_ipv4). */
function setHeaderChecksum(frame: Buffer): void {
  frame.writeUInt16BE(0, 24);
  let sum = 0;
  for (let at = 14; at < 34; at += 2) sum += frame.readUInt16BE(at);
  sum = (sum & 0xffff) + (sum >> 16);
  frame.writeUInt16BE(~(sum + (sum >> 16)) & 0xffff, 24);
}
