import { inNetworkNamespace } from '../ffi/namespace.js';
import {
  AF_PACKET,
  attachFilter,
  bindSocket,
  closeSocketOffThread,
  type FilterInstruction,
  openSocket,
  receiveFrom,
  SOCK_RAW,
  SocketWatch,
  sendTo,
} from '../ffi/sockets.js';

/** struct sockaddr_ll: family, protocol, index, hardware type, packet type, length, 8 address bytes. */
const ADDRESS_BYTES = 20;
const PACKET_OUTGOING = 4;
const FRAME_BYTES = 9_216;

const frameBuffer = Buffer.allocUnsafe(FRAME_BYTES);
const senderBuffer = Buffer.alloc(ADDRESS_BYTES);

/**
 * Whole frames out of one device and in from it (packet(7)). What is sent passes the device's tc
 * egress like everything else: an expired guard stops it too.
 */
export class PacketSocket {
  readonly #fd: number;
  readonly #address: Buffer;
  #watch: SocketWatch | undefined;
  #closed = false;

  /**
   * @param protocol EtherType to receive; 0: receive nothing
   * @param filter what to receive of it
   * @throws {SystemCallError}
   */
  constructor(
    namespacePath: string,
    linkIndex: number,
    protocol: number,
    filter: readonly FilterInstruction[] = [],
  ) {
    this.#address = Buffer.alloc(ADDRESS_BYTES);
    this.#address.writeUInt16LE(AF_PACKET, 0);
    this.#address.writeUInt16BE(protocol, 2);
    this.#address.writeInt32LE(linkIndex, 4);
    // Protocol 0 first: before it is bound it would receive from every device of the namespace.
    this.#fd = inNetworkNamespace(namespacePath, () => openSocket(AF_PACKET, SOCK_RAW, 0));
    try {
      if (filter.length > 0) attachFilter(this.#fd, filter);
      if (protocol !== 0) bindSocket(this.#fd, this.#address);
    } catch (thrown) {
      this.close();
      throw thrown;
    }
  }

  send(frame: Buffer): void {
    const address = Buffer.from(this.#address);
    // tc programs below go by the protocol named here.
    address.writeUInt16BE(frame.readUInt16BE(12), 2);
    sendTo(this.#fd, frame, address);
  }

  /** Frames that arrived, as copies; not those that this machine sent. */
  *received(): Generator<Buffer> {
    while (!this.#closed) {
      const { length } = receiveFrom(this.#fd, frameBuffer, senderBuffer) ?? {};
      if (length === undefined) return;
      if (senderBuffer.readUInt8(10) === PACKET_OUTGOING) continue;
      yield Buffer.from(frameBuffer.subarray(0, Math.min(length, FRAME_BYTES)));
    }
  }

  onReadable(ready: () => void): void {
    this.#watch?.close();
    this.#watch = new SocketWatch(this.#fd, ready);
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#watch?.close();
    closeSocketOffThread(this.#fd);
  }
}
