import { z } from 'zod';
import { roles } from './roles.js';
import type { Route } from './routes.js';
import { errorSchema } from './schemas.js';

type Json = Readonly<Record<string, unknown>>;

/**
 * The OpenAPI 3.1 document of some routes (https://spec.openapis.org/oas/v3.1.1). Its schemas are
 * JSON Schema 2020-12, which is what zod writes.
 */
export function openApiDocument(version: string, routes: readonly Route[], login: boolean): Json {
  const paths: Record<string, Record<string, Json>> = {};
  for (const route of routes) {
    const path = route.path.replace(/:(\w+)/g, '{$1}');
    paths[path] = { ...paths[path], [route.method.toLowerCase()]: operation(route, login) };
  }
  return {
    openapi: '3.1.1',
    info: {
      title: 'Understudy',
      version,
      license: { name: 'Apache-2.0', identifier: 'Apache-2.0' },
    },
    ...(login ? { security: [{ token: [] }] } : {}),
    paths,
    components: {
      schemas: { Error: json(errorSchema, 'output') },
      ...(login
        ? { securitySchemes: { token: { type: 'http', scheme: 'bearer', bearerFormat: 'us1' } } }
        : {}),
    },
  };
}

function operation(route: Route, login: boolean): Json {
  const { path, summary, answer, body, role, method } = route;
  const failed = {
    description: 'it was refused or failed',
    content: { 'application/json': { schema: { $ref: '#/components/schemas/Error' } } },
  };
  const words = path.split(/[/:.]+/).filter((word) => word !== '' && word !== 'v1');
  const name = words.length === 0 ? 'root' : words.join('-');
  return {
    operationId: `${method.toLowerCase()}-${name}`,
    summary,
    ...(login ? { description: `For role ${roles.slice(roles.indexOf(role)).join(', ')}.` } : {}),
    parameters: parameters(route),
    ...(body === undefined
      ? {}
      : {
          requestBody: {
            required: true,
            content: { 'application/json': { schema: json(body, 'input') } },
          },
        }),
    responses: {
      '200': { description: 'done', content: content(answer) },
      ...(path === '/healthz'
        ? { '503': { description: 'one does not answer', content: content(answer) } }
        : {}),
      default: failed,
    },
  };
}

function content(answer: Route['answer']): Json {
  return typeof answer === 'string'
    ? { [answer]: { schema: { type: 'string' } } }
    : { 'application/json': { schema: json(answer, 'output') } };
}

function parameters({ path, query }: Route): readonly Json[] {
  const inPath = [...path.matchAll(/:(\w+)/g)].map(([, name]) => ({
    ...{ name, in: 'path', required: true },
    schema: { type: 'string' },
  }));
  if (query === undefined) return inPath;
  const { properties = {} } = json(query, 'input') as { properties?: Json };
  const inQuery = Object.entries(properties).map(([name, schema]) => ({
    ...{ name, in: 'query', required: false },
    schema,
  }));
  return [...inPath, ...inQuery];
}

function json(schema: z.ZodType, io: 'input' | 'output'): Json {
  const { $schema: _dialect, ...rest } = z.toJSONSchema(schema, { io, unrepresentable: 'any' });
  return rest;
}
