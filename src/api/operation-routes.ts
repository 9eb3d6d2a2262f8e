import type { FastifyRequest } from 'fastify';
import type { Actor } from '../operate/audit.js';
import { Buckets } from './buckets.js';
import type { Role } from './roles.js';
import { type Route, read } from './routes.js';
import * as schemas from './schemas.js';
import { busy, type Caller } from './tokens.js';
import type { ApiOperations } from './types.js';

/** JSON of a file of 1 MiB: each line end takes two bytes, some characters more. */
const mostFileBytes = 2.5 * 1024 * 1024;

export interface OperationParts {
  readonly host: string;
  readonly operations: ApiOperations;
  callerOf(request: FastifyRequest): Caller;
  nowMs(): number;
}

/** All that changes something, and the plan that comes before it. */
export function operationRoutes(parts: OperationParts): readonly Route[] {
  const { operations } = parts;
  const often = new Buckets({ burst: 10, everyMs: 1_000, nowMs: parts.nowMs });
  const actor = (request: FastifyRequest): Actor => {
    const { name } = parts.callerOf(request);
    if (!often.take(name)) throw busy('this token has asked for much in a short time');
    return { who: name, from: `API of ${parts.host}, ${request.ip}`, host: parts.host };
  };
  return [
    {
      ...post('/v1/plan', 'operate', 'what apply would do with a cluster file'),
      ...{ body: schemas.planBody, mostBodyBytes: mostFileBytes, answer: schemas.planSchema },
      handle: (request) => {
        const { file } = read(schemas.planBody, request.body, request);
        actor(request);
        return operations.plan(file);
      },
    },
    {
      ...post(
        '/v1/apply',
        'admin',
        "make a cluster file, whose plan was looked at, the cluster's definition",
      ),
      ...{ body: schemas.applyBody, mostBodyBytes: mostFileBytes, answer: schemas.appliedSchema },
      handle: (request) => {
        const { file, plan } = read(schemas.applyBody, request.body, request);
        return operations.apply(file, plan, actor(request));
      },
    },
    {
      ...post('/v1/move', 'operate', 'planned move: stop in good order, hand over, start'),
      ...{ body: schemas.moveBody, answer: schemas.movedSchema },
      handle: (request) => {
        const { personality, to } = read(schemas.moveBody, request.body, request);
        return operations.move(personality, to, actor(request));
      },
    },
    ...[true, false].map((drained): Route => {
      const [path, summary] = drained
        ? ['/v1/drain', 'take a host out for maintenance: what is on it moves']
        : ['/v1/undrain', 'let a host take part again'];
      return {
        ...post(path ?? '', 'operate', summary ?? ''),
        ...{ body: schemas.hostBody, answer: schemas.drainedSchema },
        handle: (request) => {
          const { host } = read(schemas.hostBody, request.body, request);
          return operations.drain({ host, drained }, actor(request));
        },
      };
    }),
    {
      ...post(
        '/v1/fenced',
        'admin',
        'say that a failed host is off, where its lease is not enforced',
      ),
      ...{ body: schemas.fencedBody, answer: schemas.fencedSchema },
      handle: (request) => {
        const { host } = read(schemas.fencedBody, request.body, request);
        return operations.fenced(host, actor(request));
      },
    },
  ];
}

function post(path: string, role: Role, summary: string) {
  return { method: 'POST', path, role, summary } as const;
}
