import type { Server } from 'node:http';
import type { Server as TlsServer } from 'node:https';
import { isIP } from 'node:net';
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { messageOf, UnderstudyError } from '../errors.js';
import { refusal, tell } from './answers.js';
import { boundedHttp, listen } from './http.js';
import { openApiDocument } from './openapi.js';
import { pageFiles, pageHeaders } from './page.js';
import { get, readingRoutes, rootRoute, serve } from './routes.js';
import { documentSchema } from './schemas.js';
import type { ApiSource } from './types.js';

export interface ApiAddress {
  /** Loopback only: what is shown tells an attacker where to hit, and nobody logs in here. */
  readonly bind: string;
  /** 0 takes a free one. */
  readonly port: number;
}

/** Read-only HTTP on loopback: health, metrics, status page, and the JSON that the commands print. */
export class ApiServer {
  readonly #address: ApiAddress;
  readonly #http: FastifyInstance;
  readonly #server: Server | TlsServer;

  constructor(source: ApiSource, address: ApiAddress) {
    this.#address = address;
    const { http, server } = boundedHttp({});
    this.#http = http;
    this.#server = server;
    http.addHook('onRequest', guard);
    const reading = readingRoutes(source);
    const document = openApiDocument(source.version, reading, false);
    const described = {
      ...get('/v1/openapi.json', 'this API, as an OpenAPI 3.1 document', documentSchema),
      handle: () => document,
    };
    const paths = [...reading, described].map(({ path }) => path);
    const pages = pageFiles();
    const pagePaths = pages.map(({ path }) => path);
    serve(http, [
      rootRoute(source, ['/', ...pagePaths, ...paths]),
      ...reading,
      described,
      ...pages.map(({ path, type, content }) => ({
        ...get(path, 'the status page', type),
        handle: (_request: FastifyRequest, reply: FastifyReply) =>
          reply.headers(pageHeaders).type(type).send(content),
      })),
    ]);
  }

  /**
   * @returns the port
   * @throws {UnderstudyError} US_API_BIND
   */
  async start(): Promise<number> {
    const { bind, port } = this.#address;
    if (!isLoopback(bind)) throw cannotBind(this.#address, 'it is no loopback address');
    try {
      return await listen(this.#http, this.#server, bind, port);
    } catch (thrown) {
      throw cannotBind(this.#address, messageOf(thrown));
    }
  }

  async stop(): Promise<void> {
    await this.#http.close();
  }
}

/**
 * Only reading; and only for a name of this machine's loopback: a web page elsewhere could have its own
 * name resolve to 127.0.0.1 and read all this through somebody's browser (DNS rebinding).
 */
async function guard(request: FastifyRequest, reply: FastifyReply): Promise<void> {
  if (request.method !== 'GET' && request.method !== 'HEAD') {
    reply.header('allow', 'GET, HEAD');
    await tell(
      reply,
      405,
      refusal('US_API_METHOD', request, 'the API on loopback only shows', 'use the command line'),
    );
    return;
  }
  const name = (request.headers.host ?? '').replace(/:\d+$/, '').replace(/^\[(.*)\]$/, '$1');
  if (name === 'localhost' || isLoopback(name)) return;
  await tell(
    reply,
    421,
    refusal(
      'US_API_HOST',
      request,
      'the Host header names no loopback address',
      'ask http://127.0.0.1',
    ),
  );
}

function isLoopback(address: string): boolean {
  return (isIP(address) === 4 && address.startsWith('127.')) || address === '::1';
}

function cannotBind({ bind, port }: ApiAddress, cause: string): UnderstudyError {
  return new UnderstudyError({
    code: 'US_API_BIND',
    action: 'cannot serve HTTP on',
    object: `${bind} port ${port}`,
    cause,
    remedy:
      'set api in agent.yaml to a free port of a loopback address, or to false; remoteApi is for others',
  });
}
