import { createSocket, type Socket } from 'node:dgram';
import { once } from 'node:events';
import type { PulsePeer } from '../../src/pulse/protocol.js';

/** A wire between pulses that a test can cut: passes datagrams on, or drops them. */
export class Relay {
  readonly peer: PulsePeer;
  readonly #to: PulsePeer;
  readonly #socket: Socket = createSocket('udp4');
  cut = false;
  passed = 0;
  /** What came, newest last; bounded. */
  captured: Buffer[] = [];

  constructor(at: PulsePeer, to: PulsePeer) {
    this.peer = { ...at, name: to.name };
    this.#to = to;
  }

  async start(): Promise<void> {
    this.#socket.on('message', (bytes) => {
      this.captured = [...this.captured.slice(-99), bytes];
      if (this.cut) return;
      this.passed++;
      this.#socket.send(bytes, this.#to.port, this.#to.address);
    });
    this.#socket.bind(this.peer.port, this.peer.address);
    await once(this.#socket, 'listening');
  }

  send(bytes: Buffer): void {
    this.#socket.send(bytes, this.#to.port, this.#to.address);
  }

  close(): void {
    this.#socket.close();
  }
}
