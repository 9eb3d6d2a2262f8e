import { createSocket, type Socket } from 'node:dgram';
import { isIPv6 } from 'node:net';
import { messageOf, UnderstudyError } from '../errors.js';
import type { PulseConfig } from './config.js';
import type { ClusterKeys } from './keys.js';
import type { Wire, WireParts } from './machine.js';
import { decodePacket, encodePacket, type Malformed, type Packet } from './packet.js';
import type { PulsePeer } from './protocol.js';

/** Heartbeats and answers as authenticated UDP packets. */
export class UdpWire implements Wire {
  readonly #config: PulseConfig;
  readonly #keys: Pick<ClusterKeys, 'signs' | 'accepts'>;
  readonly #parts: WireParts;
  readonly #socket: Socket;

  constructor(config: PulseConfig, keys: Pick<ClusterKeys, 'signs' | 'accepts'>, parts: WireParts) {
    const family = isIPv6(config.bind) ? 6 : 4;
    this.#config = config;
    this.#keys = keys;
    this.#parts = parts;
    this.#socket = createSocket({
      type: family === 6 ? 'udp6' : 'udp4',
      // After a stall of this process the heartbeats of a thousand hosts wait here.
      recvBufferSize: 1024 * 1024,
      // Peers are given by address; Node would still queue a look-up for each packet.
      lookup: (host, _options, done) => done(null, host, family),
    });
  }

  /**
   * The address is bound by one process only, so two pulses of one host never act at once.
   *
   * @throws {UnderstudyError} US_PULSE_BIND, US_PULSE_RUNNING
   */
  async start(): Promise<void> {
    const { bind, port } = this.#config;
    try {
      await new Promise<void>((resolve, reject) => {
        this.#socket.once('error', reject);
        this.#socket.bind({ address: bind, port, exclusive: true }, () => {
          this.#socket.off('error', reject);
          resolve();
        });
      });
    } catch (thrown) {
      this.#socket.close();
      const taken = (thrown as NodeJS.ErrnoException).code === 'EADDRINUSE';
      throw new UnderstudyError(
        {
          code: taken ? 'US_PULSE_RUNNING' : 'US_PULSE_BIND',
          action: 'cannot receive heartbeats on',
          object: `${bind} port ${port}`,
          cause: taken ? 'another process, maybe another pulse, does' : messageOf(thrown),
          remedy: taken
            ? 'stop it first: systemctl stop understudy-pulse'
            : 'bind an address of this host that is up',
        },
        { cause: thrown },
      );
    }
    this.#socket.on('error', () => this.#parts.counters.add('udp-failed'));
    this.#socket.on('message', (bytes) => this.receive(bytes));
  }

  async stop(): Promise<void> {
    await new Promise<void>((resolve) => this.#socket.close(() => resolve()));
  }

  /** Takes one datagram, whoever sent it. */
  receive(bytes: Buffer): void {
    const { counters, receive } = this.#parts;
    counters.add('received');
    let packet: Packet | Malformed = 'forged';
    for (const [index, key] of this.#keys.accepts.entries()) {
      packet = decodePacket(bytes, key);
      if (packet === 'forged') continue;
      if (index > 0 && typeof packet !== 'string') counters.add('by-other-key');
      break;
    }
    if (typeof packet === 'string') counters.add(packet);
    else receive(packet);
  }

  send(peer: PulsePeer, packet: Packet): void {
    const bytes = encodePacket(packet, this.#keys.signs);
    this.#socket.send(bytes, peer.port, peer.address, (failed) => {
      if (failed) this.#parts.counters.add('send-failed');
    });
  }
}
