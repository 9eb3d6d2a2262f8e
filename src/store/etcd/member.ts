import {
  Client,
  type ClientDuplexStream,
  Metadata,
  type MethodDefinition,
  type ServiceError,
} from '@grpc/grpc-js';
import { UnderstudyError } from '../../errors.js';
import { leastPatience } from '../patience.js';
import type { TlsFiles } from '../settings.js';
import { credentialsFor } from './tls.js';

/**
 * Why each: a member that was frozen or cut off by the network keeps its TCP connection open for
 * minutes, so pings find it out while a call waits, in 2 s or as patience.ts says (without calls none are sent: etcd hangs
 * up on a client that pings an idle connection more than once in 5 s, --grpc-keepalive-min-time);
 * a member that comes back must be tried again soon (gRPC would wait up to two minutes);
 * environment variables for web proxies mean nothing here; two stores of one process must not
 * share a connection, since one may be cut off on purpose.
 */
const channelOptions = {
  'grpc.keepalive_permit_without_calls': 0,
  'grpc.initial_reconnect_backoff_ms': 100,
  'grpc.min_reconnect_backoff_ms': 100,
  'grpc.max_reconnect_backoff_ms': 500,
  'grpc.enable_http_proxy': 0,
  'grpc.enable_retries': 0,
  'grpc.use_local_subchannel_pool': 1,
  'grpc.max_receive_message_length': 64 * 1024 * 1024,
};

/** The part of a gRPC stream that is used. */
export interface MemberStream<Request, Response> {
  on(event: 'data', listener: (response: Response) => void): unknown;
  on(event: 'error', listener: (error: Error) => void): unknown;
  on(event: 'end', listener: () => void): unknown;
  write(request: Request): unknown;
  cancel(): void;
}

/** A way to one etcd member; the simulator has one without gRPC. */
export type Member = Pick<
  EtcdMember,
  'endpoint' | 'reconnect' | 'call' | 'exchange' | 'open' | 'close'
>;

/** One etcd member: one connection, no retries, no memory of failures. */
export class EtcdMember {
  readonly endpoint: string;
  readonly #tls: TlsFiles | undefined;
  #client: Client;

  /**
   * @param endpoint `http://host:port` or `https://…`, an IPv6 address in brackets.
   * @throws {UnderstudyError} US_STORE_ENDPOINT, US_STORE_TLS
   */
  constructor(endpoint: string, tls?: TlsFiles) {
    this.endpoint = endpoint;
    this.#tls = tls;
    this.#client = connect(endpoint, tls, leastPatience.keepaliveMs);
  }

  /**
   * Drops the connection for a new one. After a partition the old one would wait for TCP's next
   * retransmission, up to two minutes away (tcp(7), tcp_retries2).
   *
   * @param keepaliveMs of the new one
   */
  reconnect(keepaliveMs: number): void {
    const before = this.#client;
    try {
      this.#client = connect(this.endpoint, this.#tls, keepaliveMs);
    } catch {
      return; // A certificate that is being replaced: the old connection is as good as none.
    }
    before.close();
  }

  /** One request, one answer, by `deadlineMs` from now; rejects with gRPC's ServiceError. */
  call<Request extends object, Response extends object>(
    method: MethodDefinition<Request, Response>,
    request: Request,
    deadlineMs: number,
  ): Promise<Response> {
    return new Promise((resolve, reject) => {
      this.#client.makeUnaryRequest(
        method.path,
        method.requestSerialize,
        method.responseDeserialize,
        request,
        new Metadata(),
        { deadline: Date.now() + deadlineMs },
        (error, response) => {
          if (error !== null) reject(error);
          else if (response === undefined) reject(new Error(`${method.path}: empty answer`));
          else resolve(response);
        },
      );
    });
  }

  /**
   * One request and its answer over a streaming method. The stream ends with the answer, so a
   * deadline is right here; on a stream that is to last, it would be its end.
   */
  exchange<Request extends object, Response extends object>(
    method: MethodDefinition<Request, Response>,
    request: Request,
    deadlineMs: number,
  ): Promise<Response> {
    return new Promise((resolve, reject) => {
      const stream = this.#stream(method, new Metadata(), Date.now() + deadlineMs);
      stream.on('error', (error: ServiceError) => reject(error));
      stream.on('end', () => reject(new Error(`${method.path}: no answer`)));
      stream.on('data', (response: Response) => {
        resolve(response);
        stream.cancel();
      });
      stream.write(request);
    });
  }

  /** A stream that lasts until cancelled. etcd ends it when this member has no leader for long. */
  open<Request extends object, Response extends object>(
    method: MethodDefinition<Request, Response>,
  ): MemberStream<Request, Response> {
    const metadata = new Metadata();
    metadata.set('hasleader', 'true');
    return this.#stream(method, metadata);
  }

  close(): void {
    this.#client.close();
  }

  #stream<Request, Response>(
    method: MethodDefinition<Request, Response>,
    metadata: Metadata,
    deadline?: number,
  ): ClientDuplexStream<Request, Response> {
    return this.#client.makeBidiStreamRequest(
      method.path,
      method.requestSerialize,
      method.responseDeserialize,
      metadata,
      deadline === undefined ? {} : { deadline },
    );
  }
}

function connect(endpoint: string, tls: TlsFiles | undefined, keepaliveMs: number): Client {
  return new Client(targetOf(endpoint), credentialsFor(endpoint, tls), {
    ...channelOptions,
    'grpc.keepalive_time_ms': keepaliveMs,
    'grpc.keepalive_timeout_ms': keepaliveMs,
  });
}

/** gRPC's name for an endpoint; addresses are told apart from names, which it must look up. */
function targetOf(endpoint: string): string {
  const found = endpoint.match(/^https?:\/\/(\[[0-9a-fA-F:.]+\]|[^:/[\]]+):([0-9]{1,5})\/?$/);
  const [, host = '', port = ''] = found ?? [];
  if (found === null) {
    throw new UnderstudyError({
      code: 'US_STORE_ENDPOINT',
      action: 'cannot use',
      object: endpoint,
      cause: 'it is not of the form http://ADDRESS:PORT or https://ADDRESS:PORT',
      remedy: "write etcd's client address, for example http://10.66.0.1:2379",
    });
  }
  if (host.startsWith('[')) return `ipv6:${host}:${port}`;
  return `${/^[0-9.]+$/.test(host) ? 'ipv4' : 'dns'}:${host}:${port}`;
}
