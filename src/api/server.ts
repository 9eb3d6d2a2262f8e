import { isIP } from 'node:net';
import Fastify, { type FastifyInstance, type FastifyReply, type FastifyRequest } from 'fastify';
import { messageOf, UnderstudyError } from '../errors.js';
import { metricsType, renderMetrics } from './metrics.js';
import { pageFiles, pageHeaders } from './page.js';
import type { ApiSource } from './types.js';

export interface ApiAddress {
  /** Loopback only: what is shown tells an attacker where to hit, and there is no login yet. */
  readonly bind: string;
  /** 0 takes a free one. */
  readonly port: number;
}

const mostConnections = 64;
const slowestRequestMs = 5_000;
const mostEvents = 1_000;
const usualEvents = 100;

/** Read-only HTTP on loopback: health, metrics, and the JSON that the commands print. */
export class ApiServer {
  readonly #address: ApiAddress;
  readonly #http: FastifyInstance;

  constructor(source: ApiSource, address: ApiAddress) {
    this.#address = address;
    this.#http = Fastify({
      bodyLimit: 1_024,
      requestTimeout: slowestRequestMs,
      connectionTimeout: slowestRequestMs,
      keepAliveTimeout: slowestRequestMs,
      forceCloseConnections: true,
      routerOptions: { maxParamLength: 128 },
      frameworkErrors: (thrown, request, reply) => {
        void fail(thrown, request, reply);
      },
    });
    this.#http.server.maxConnections = mostConnections;
    this.#http.server.headersTimeout = slowestRequestMs;
    this.#http.addHook('onRequest', guard);
    this.#http.setNotFoundHandler((request, reply) =>
      tell(
        reply,
        404,
        refusal('US_API_NOT_FOUND', request, 'there is no such thing', 'GET / lists what there is'),
      ),
    );
    this.#http.setErrorHandler((thrown, request, reply) => fail(thrown, request, reply));
    routes(this.#http, source);
  }

  /**
   * @returns the port
   * @throws {UnderstudyError} US_API_BIND
   */
  async start(): Promise<number> {
    const { bind, port } = this.#address;
    if (!isLoopback(bind)) throw cannotBind(this.#address, 'it is no loopback address');
    try {
      await this.#http.listen({ host: bind, port });
    } catch (thrown) {
      throw cannotBind(this.#address, messageOf(thrown));
    }
    const bound = this.#http.server.address();
    return typeof bound === 'object' && bound !== null ? bound.port : port;
  }

  async stop(): Promise<void> {
    await this.#http.close();
  }
}

function routes(http: FastifyInstance, source: ApiSource): void {
  const paths: string[] = [];
  const get = (path: string, answer: (request: FastifyRequest, reply: FastifyReply) => unknown) => {
    paths.push(path);
    http.get(path, async (request, reply) => answer(request, reply));
  };
  get('/', () => ({ host: source.host, version: source.version, paths }));
  get('/healthz', async (_request, reply) => {
    const health = await source.health();
    return reply.code(health.store && health.pulse ? 200 : 503).send(health);
  });
  get('/metrics', async (_request, reply) =>
    reply.type(metricsType).send(await renderMetrics(source)),
  );
  for (const { path, type, content } of pageFiles()) {
    get(path, (_request, reply) => reply.headers(pageHeaders).type(type).send(content));
  }
  get('/v1/status', async (request, reply) => {
    const status = await source.status();
    if (status !== undefined) return status;
    const cause = 'no cluster file has been applied, or the store was not reached yet';
    return tell(reply, 503, refusal('US_NOT_APPLIED', request, cause, 'understudy apply FILE'));
  });
  get('/v1/failovers', () => source.failovers());
  get('/v1/failovers/:id', (request, reply) => {
    const { id } = request.params as { id: string };
    const one = source.failovers().find((found) => found.id === id);
    if (one !== undefined) return one;
    return tell(
      reply,
      404,
      refusal('US_FAILOVER_UNKNOWN', request, 'no such record', 'GET /v1/failovers'),
    );
  });
  get('/v1/events', (request, reply) => {
    const { most } = request.query as { most?: string };
    const count = most === undefined ? usualEvents : Number(most);
    if (Number.isInteger(count) && count >= 1 && count <= mostEvents) return source.events(count);
    const cause = `most=${String(most).slice(0, 20)} is no number from 1 to ${mostEvents}`;
    return tell(
      reply,
      400,
      refusal('US_API_REQUEST', request, cause, 'leave it out, or write a number'),
    );
  });
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
      refusal('US_API_METHOD', request, 'the API only shows', 'use the command line'),
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

function fail(thrown: unknown, request: FastifyRequest, reply: FastifyReply): FastifyReply {
  if (thrown instanceof UnderstudyError) return tell(reply, 503, thrown);
  const status = (thrown as { statusCode?: number }).statusCode ?? 500;
  const code = status < 500 ? 'US_API_REQUEST' : 'US_UNEXPECTED';
  return tell(reply, status, refusal(code, request, messageOf(thrown), 'correct the request'));
}

function tell(reply: FastifyReply, status: number, error: UnderstudyError): FastifyReply {
  return reply.code(status).send({ ok: false, error: error.toJSON() });
}

function refusal(
  code: `US_${string}`,
  request: FastifyRequest,
  cause: string,
  remedy: string,
): UnderstudyError {
  const object = `${request.method} ${request.url.slice(0, 200)}`;
  return new UnderstudyError({ code, action: 'cannot answer', object, cause, remedy });
}

function cannotBind({ bind, port }: ApiAddress, cause: string): UnderstudyError {
  return new UnderstudyError({
    code: 'US_API_BIND',
    action: 'cannot serve HTTP on',
    object: `${bind} port ${port}`,
    cause,
    remedy: 'set api in agent.yaml to a free port of a loopback address, or to false',
  });
}
