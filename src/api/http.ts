import { createServer, type Server } from 'node:http';
import { createServer as createTlsServer, type Server as TlsServer } from 'node:https';
import type { Socket } from 'node:net';
import Fastify, { type FastifyInstance } from 'fastify';
import { fail, refusal, tell } from './answers.js';
import { peerOf } from './buckets.js';

/** A request has so long, with its body. */
const usualSlowestMs = 5_000;
const mostConnections = 64;
const mostHeaderBytes = 16 * 1_024;
const mostRequestsPerConnection = 1_000;

export interface TlsMaterial {
  readonly certificate: Buffer;
  readonly key: Buffer;
}

export interface HttpOptions {
  /** Default 5,000. */
  readonly slowestRequestMs?: number;
  readonly tls?: TlsMaterial;
  /** Connections of one peer; left out: no bound but that for all. */
  readonly mostOfPeer?: number;
}

/**
 * An HTTP server on which nothing is without bound: time for a request, also for one whose bytes drip;
 * connections in all and of one peer; headers and bodies. It takes JSON alone.
 */
export function boundedHttp(options: HttpOptions): {
  readonly http: FastifyInstance;
  readonly server: Server | TlsServer;
} {
  const { tls, mostOfPeer, slowestRequestMs = usualSlowestMs } = options;
  let server: Server | TlsServer | undefined;
  const http = Fastify({
    bodyLimit: 1_024,
    forceCloseConnections: true,
    routerOptions: { maxParamLength: 128 },
    frameworkErrors: (thrown, request, reply) => {
      void fail(thrown, request, reply);
    },
    serverFactory: (handler) => {
      const bounds = {
        // Node looks for late requests only so often; its default is 30 s.
        connectionsCheckingInterval: slowestRequestMs / 5,
        headersTimeout: slowestRequestMs,
        requestTimeout: slowestRequestMs,
        keepAliveTimeout: slowestRequestMs,
        maxHeaderSize: mostHeaderBytes,
      };
      const made =
        tls === undefined
          ? createServer(bounds, handler)
          : createTlsServer(
              {
                ...bounds,
                key: tls.key,
                cert: tls.certificate,
                minVersion: 'TLSv1.3',
                handshakeTimeout: slowestRequestMs,
              },
              handler,
            );
      made.maxConnections = mostConnections;
      made.maxRequestsPerSocket = mostRequestsPerConnection;
      made.timeout = slowestRequestMs; // of silence, but for ours (below)
      if (mostOfPeer !== undefined) boundPeers(made, mostOfPeer);
      server = made;
      return made as Server;
    },
  });
  if (server === undefined) throw new Error('fastify made no server');
  // Silence is the caller's until a request is whole, and again while it takes the answer. In between it is
  // ours: a plan may take longer than a caller may, and has a bound of its own.
  http.addHook('preHandler', async ({ raw }) => {
    raw.socket.setTimeout(0);
  });
  http.addHook('onSend', async ({ raw }) => {
    raw.socket.setTimeout(slowestRequestMs);
  });
  http.removeAllContentTypeParsers();
  http.addContentTypeParser(
    'application/json',
    { parseAs: 'string' },
    http.getDefaultJsonParser('error', 'error'),
  );
  http.setNotFoundHandler((request, reply) => {
    // A path that exists, asked in another way, is told apart from one that does not.
    const url = request.url.replace(/\?.*/, '');
    const exists = (['GET', 'POST'] as const).some((method) => http.hasRoute({ method, url }));
    const [status, code, why] = exists
      ? ([405, 'US_API_METHOD', 'this path is not for this method'] as const)
      : ([404, 'US_API_NOT_FOUND', 'there is no such thing'] as const);
    return tell(reply, status, refusal(code, request, why, 'GET / lists what there is'));
  });
  http.setErrorHandler((thrown, request, reply) => fail(thrown, request, reply));
  return { http, server };
}

/** One peer cannot take every connection there is. Before TLS: a handshake costs more than a socket. */
function boundPeers(server: Server | TlsServer, most: number): void {
  const open = new Map<string, number>();
  server.on('connection', (socket: Socket) => {
    const peer = peerOf(socket.remoteAddress);
    const count = (open.get(peer) ?? 0) + 1;
    open.set(peer, count);
    socket.once('close', () => {
      const left = (open.get(peer) ?? 1) - 1;
      if (left === 0) open.delete(peer);
      else open.set(peer, left);
    });
    if (count > most) socket.destroy();
  });
}

/** Starts to listen. @returns the port */
export async function listen(
  http: FastifyInstance,
  server: Server | TlsServer,
  bind: string,
  port: number,
): Promise<number> {
  await http.listen({ host: bind, port });
  const bound = server.address();
  return typeof bound === 'object' && bound !== null ? bound.port : port;
}
