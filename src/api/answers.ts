import type { FastifyReply, FastifyRequest } from 'fastify';
import { messageOf, UnderstudyError } from '../errors.js';

/** HTTP statuses of what is refused; all else that has a code is a trouble of ours: 503. */
const statuses: Readonly<Record<string, number>> = {
  US_API_REQUEST: 400,
  US_API_FILE: 400,
  US_API_TOKEN: 401,
  US_API_ROLE: 403,
  US_API_NOT_FOUND: 404,
  US_FAILOVER_UNKNOWN: 404,
  US_HOST_UNKNOWN: 404,
  US_API_METHOD: 405,
  US_API_PLAN: 409,
  US_APPLY_CLUSTER: 409,
  US_APPLY_RACE: 409,
  US_APPLY_REFUSED: 409,
  US_FABRIC_UNKNOWN: 409,
  US_FENCED_REFUSED: 409,
  US_MOVE_REFUSED: 409,
  US_API_HOST: 421,
  US_API_BUSY: 429,
};

export function fail(thrown: unknown, request: FastifyRequest, reply: FastifyReply): FastifyReply {
  if (thrown instanceof UnderstudyError) return tell(reply, statuses[thrown.code] ?? 503, thrown);
  const status = (thrown as { statusCode?: number }).statusCode ?? 500;
  const code = status < 500 ? 'US_API_REQUEST' : 'US_UNEXPECTED';
  return tell(reply, status, refusal(code, request, messageOf(thrown), 'correct the request'));
}

export function tell(reply: FastifyReply, status: number, error: UnderstudyError): FastifyReply {
  if (status === 401) reply.header('www-authenticate', 'Bearer realm="understudy"');
  if (status === 429) reply.header('retry-after', '6');
  return reply.code(status).send({ ok: false, error: error.toJSON() });
}

export function refusal(
  code: `US_${string}`,
  request: FastifyRequest,
  cause: string,
  remedy: string,
): UnderstudyError {
  const object = `${request.method} ${request.url.slice(0, 200)}`;
  return new UnderstudyError({ code, action: 'cannot answer', object, cause, remedy });
}
