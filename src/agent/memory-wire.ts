import { createHmac } from 'node:crypto';
import type { Duplex } from 'node:stream';
import { connect, createServer, type TLSSocket } from 'node:tls';
import { messageOf } from '../errors.js';
import { type ClusterKeys, keyName } from '../pulse/keys.js';
import type { Log } from './loop.js';

/** Between the agents of two hosts, for what a dispatcher remembers. */
export interface MemoryWire {
  /** @returns the port. @throws when nobody can be heard here */
  listen(heard: (from: string, stream: Duplex) => void): Promise<number>;
  /** A stream to another host's agent; what goes wrong is its error. */
  dial(address: string, port: number): Duplex;
  stop(): Promise<void>;
}

/** With a key that both have and no certificates; a key of their own for each connection (RFC 8442 names it). */
const only = {
  ciphers: 'ECDHE-PSK-CHACHA20-POLY1305',
  minVersion: 'TLSv1.2',
  maxVersion: 'TLSv1.2',
} as const;
const handshakeMs = 2_000;
/** Each host has one connection at a time; some more while those of dead hosts run out. */
const mostConnections = 32;
/** A round comes every two seconds at least. */
const silentMs = 15_000;

/** The cluster key itself is used for nothing but pulses. */
function secretOf(key: Buffer): Buffer {
  return createHmac('sha256', key).update('understudy, memory of dispatchers').digest();
}

/** TLS by the cluster's key, on the internal network: who has it is one of us, as with pulses. */
export class TlsMemoryWire implements MemoryWire {
  readonly #parts: TlsMemoryParts;
  readonly #server;
  readonly #streams = new Set<TLSSocket>();
  /** Who they said they are. */
  readonly #names = new WeakMap<TLSSocket, string>();

  constructor(parts: TlsMemoryParts) {
    this.#parts = parts;
    this.#server = createServer({
      ...only,
      handshakeTimeout: handshakeMs,
      pskCallback: (stream, identity) => this.#secretFor(stream, identity),
    });
    this.#server.maxConnections = mostConnections;
  }

  async listen(heard: (from: string, stream: Duplex) => void): Promise<number> {
    const { host, port, log } = this.#parts;
    this.#server.on('secureConnection', (stream) => {
      this.#keep(stream);
      heard(this.#names.get(stream) ?? '', stream);
    });
    this.#server.on('tlsClientError', (thrown, { remoteAddress }) =>
      log.debug({ remoteAddress, cause: messageOf(thrown) }, 'no agent of this cluster'),
    );
    await new Promise<void>((resolve, reject) => {
      this.#server.once('error', reject);
      this.#server.listen({ host, port }, () => {
        this.#server.off('error', reject);
        this.#server.on('error', (thrown) =>
          log.warn({ cause: messageOf(thrown) }, 'other dispatchers are not heard'),
        );
        resolve();
      });
    });
    const bound = this.#server.address();
    return bound === null || typeof bound === 'string' ? port : bound.port;
  }

  dial(address: string, port: number): Duplex {
    const key = this.#parts.keys().signs;
    const stream = connect({
      host: address,
      port,
      ...only,
      timeout: silentMs,
      checkServerIdentity: () => undefined,
      pskCallback: () => ({ psk: secretOf(key), identity: `${keyName(key)} ${this.#parts.name}` }),
    });
    this.#keep(stream);
    return stream;
  }

  async stop(): Promise<void> {
    for (const stream of this.#streams) stream.destroy();
    if (!this.#server.listening) return;
    await new Promise<void>((resolve) => this.#server.close(() => resolve()));
  }

  #keep(stream: TLSSocket): void {
    this.#streams.add(stream);
    stream.setTimeout(silentMs, () => stream.destroy(new Error('silent for too long')));
    stream.on('error', () => {});
    stream.once('close', () => this.#streams.delete(stream));
  }

  #accepted(): readonly Buffer[] {
    try {
      return this.#parts.keys().accepts;
    } catch (thrown) {
      this.#parts.log.warn({ cause: messageOf(thrown) }, 'other dispatchers are not heard');
      return [];
    }
  }

  /** Whoever has the key may give any name, and is believed, as with pulses. */
  #secretFor(stream: TLSSocket, identity: string): Buffer | null {
    const [which, name = '', ...more] = identity.split(' ');
    const key = this.#accepted().find((one) => keyName(one) === which);
    if (key === undefined || name === '' || more.length > 0) return null;
    this.#names.set(stream, name);
    return secretOf(key);
  }
}

export interface TlsMemoryParts {
  /** Of this host. */
  readonly name: string;
  /** Address and port to be reached at. */
  readonly host: string;
  readonly port: number;
  readonly log: Log;
  /** As the file has them now. @throws {UnderstudyError} US_PULSE_KEY, US_PULSE_KEY_MODE */
  keys(): Pick<ClusterKeys, 'signs' | 'accepts'>;
}
