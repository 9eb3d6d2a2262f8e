import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { z } from 'zod';
import { UnderstudyError } from '../errors.js';
import { refusal } from './answers.js';
import { metricsType, renderMetrics } from './metrics.js';
import type { Role } from './roles.js';
import {
  auditSchema,
  eventSchema,
  failoverSchema,
  healthSchema,
  rootSchema,
  statusSchema,
} from './schemas.js';
import type { ApiSource } from './types.js';

/** One path: what it takes, gives, and whom it is for. Server and OpenAPI document are made of these. */
export interface Route {
  readonly method: 'GET' | 'POST';
  /** Parameters as `:id`. */
  readonly path: string;
  readonly role: Role;
  readonly summary: string;
  readonly query?: z.ZodObject;
  readonly body?: z.ZodType;
  /** Default 4 KiB. */
  readonly mostBodyBytes?: number;
  /** A schema, or the content type of a text. */
  readonly answer: z.ZodType | string;
  handle(request: FastifyRequest, reply: FastifyReply): unknown;
}

const usualBodyBytes = 4_096;
const mostListed = 1_000;
const most = z.coerce.number().int().min(1).max(mostListed).default(100);
const newest = z.strictObject({ most: most.describe('so many of the newest') });

/** All that only shows. */
export function readingRoutes(source: ApiSource): readonly Route[] {
  return [
    {
      ...get('/healthz', 'whether store and pulse answer; 503 when one does not', healthSchema),
      handle: async (_request, reply) => {
        const health = await source.health();
        return reply.code(health.store && health.pulse ? 200 : 503).send(health);
      },
    },
    {
      ...get('/metrics', "metrics, in Prometheus' text format", metricsType),
      handle: async (_request, reply) => reply.type(metricsType).send(await renderMetrics(source)),
    },
    {
      ...get('/v1/status', 'hosts, personalities, services', statusSchema),
      handle: async (request) => {
        const status = await source.status();
        if (status !== undefined) return status;
        const cause = 'no cluster file has been applied, or the store was not reached yet';
        throw refusal('US_NOT_APPLIED', request, cause, 'understudy apply FILE');
      },
    },
    {
      ...get('/v1/failovers', 'every record that is kept, newest first', z.array(failoverSchema)),
      handle: () => source.failovers(),
    },
    {
      ...get('/v1/failovers/:id', 'one record with its time line', failoverSchema),
      handle: (request) => {
        const { id } = request.params as { id: string };
        const one = source.failovers().find((found) => found.id === id);
        if (one !== undefined) return one;
        throw refusal('US_FAILOVER_UNKNOWN', request, 'no such record', 'GET /v1/failovers');
      },
    },
    {
      ...get('/v1/events', 'what happened and why, newest last', z.array(eventSchema)),
      query: newest,
      handle: (request) => source.events(read(newest, request.query, request).most),
    },
    {
      ...get('/v1/audit', 'who changed what, newest last', z.array(auditSchema)),
      query: newest,
      handle: (request) => source.audit(read(newest, request.query, request).most),
    },
  ];
}

/** What there is, for people. */
export function rootRoute(source: ApiSource, paths: readonly string[]): Route {
  return {
    ...get('/', 'what there is', rootSchema),
    handle: () => ({ host: source.host, version: source.version, paths }),
  };
}

/** What all that only shows has in common. */
export function get(path: string, summary: string, answer: z.ZodType | string) {
  return { method: 'GET', path, role: 'read', summary, answer } as const;
}

/** @throws {UnderstudyError} US_API_REQUEST with every fault */
export function read<T extends z.ZodType>(
  schema: T,
  value: unknown,
  request: FastifyRequest,
): z.infer<T> {
  const parsed = schema.safeParse(value);
  if (parsed.success) return parsed.data;
  const faults = parsed.error.issues.slice(0, 10).map(({ path, message }) => {
    return path.length === 0 ? message : `${path.join('.')}: ${message}`;
  });
  const { method, url } = request;
  throw new UnderstudyError({
    code: 'US_API_REQUEST',
    action: 'cannot answer',
    object: `${method} ${url.slice(0, 200)}`,
    cause: faults.join('; ').slice(0, 1_000),
    remedy: 'GET /v1/openapi.json tells what it takes',
  });
}

/** Puts routes into a server. */
export function serve(http: FastifyInstance, routes: readonly Route[]): void {
  for (const { method, path, role, mostBodyBytes = usualBodyBytes, handle } of routes) {
    http.route({
      method,
      url: path,
      bodyLimit: mostBodyBytes,
      config: { role },
      handler: async (request, reply) => handle(request, reply),
    });
  }
}

declare module 'fastify' {
  interface FastifyContextConfig {
    role?: Role;
  }
}
