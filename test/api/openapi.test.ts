import { test } from 'tap';
import { z } from 'zod';
import { ApiServer } from '../../src/api/server.js';
import { file, openRemote } from './remote-stage.js';
import { source } from './source.js';

type Json = Readonly<Record<string, unknown>>;
interface Operation {
  readonly operationId: string;
  readonly responses: Readonly<
    Record<string, { content?: Readonly<Record<string, { schema: Json }>> }>
  >;
  readonly requestBody?: Json;
  readonly parameters: readonly { readonly name: string; readonly in: string }[];
}
interface Document extends Json {
  readonly openapi: string;
  readonly paths: Readonly<Record<string, Readonly<Record<string, Operation>>>>;
  readonly components: { readonly schemas: Json };
}

/** Keys of an answer that its schema does not tell of. */
function untold(value: unknown, schema: Json, path = ''): string[] {
  if (Array.isArray(value)) {
    const items = (schema.items ?? {}) as Json;
    return value.flatMap((one) => untold(one, items, `${path}[]`));
  }
  if (typeof value !== 'object' || value === null) return [];
  const { properties } = schema as { properties?: Readonly<Record<string, Json>> };
  if (properties === undefined || Object.keys(properties).length === 0) return [];
  return Object.entries(value).flatMap(([key, inner]) => {
    const known = properties[key];
    return known === undefined ? [`${path}.${key}`] : untold(inner, known, `${path}.${key}`);
  });
}

/** Against the document as it was served, not against the code that made it. */
function faults(document: Document, path: string, method: string, status: number, text: string) {
  const operation = document.paths[path]?.[method];
  const answer = operation?.responses[status] ?? operation?.responses.default;
  const schema = answer?.content?.['application/json']?.schema;
  if (schema === undefined) return [`${method} ${path}: not described`];
  const reference =
    String(schema.$ref ?? '')
      .split('/')
      .at(-1) ?? '';
  const whole = (document.components.schemas[reference] ?? schema) as Json;
  const value: unknown = JSON.parse(text);
  const parsed = z.fromJSONSchema(whole as Parameters<typeof z.fromJSONSchema>[0]).safeParse(value);
  return [...(parsed.success ? [] : [z.prettifyError(parsed.error)]), ...untold(value, whole)];
}

test('the document tells what loopback really answers, to the last key', async (t) => {
  const api = new ApiServer(source(), { bind: '127.0.0.1', port: 0 });
  const port = await api.start();
  t.teardown(() => api.stop());
  const get = async (path: string) => {
    const answer = await fetch(`http://127.0.0.1:${port}${path}`);
    return { status: answer.status, text: await answer.text() };
  };
  const document = JSON.parse((await get('/v1/openapi.json')).text) as Document;
  t.equal(document.openapi, '3.1.1');
  t.notOk('security' in document);
  for (const [path, asked] of [
    ['/healthz', '/healthz'],
    ['/v1/status', '/v1/status'],
    ['/v1/failovers', '/v1/failovers'],
    ['/v1/failovers/{id}', '/v1/failovers/web1-2'],
    ['/v1/failovers/{id}', '/v1/failovers/none'],
    ['/v1/events', '/v1/events?most=2'],
    ['/v1/events', '/v1/events?most=0'],
    ['/v1/audit', '/v1/audit'],
  ] as const) {
    const { status, text } = await get(asked);
    t.strictSame(faults(document, path, 'get', status, text), [], `${asked}: ${status}`);
  }
  const { paths } = JSON.parse((await get('/')).text) as { paths: string[] };
  const told = Object.keys(document.paths).map((path) => path.replace(/\{(\w+)\}/, ':$1'));
  const files = paths.filter((path) => path.startsWith('/page'));
  t.strictSame([...told, ...files, '/', '/v1/openapi.json'].sort(), paths.sort());
});

test('and what the API for callers elsewhere answers, also when it refuses', async (t) => {
  const { ask, admin, operate } = await openRemote(t);
  const document = JSON.parse((await ask('/v1/openapi.json', { token: operate })).text) as Document;
  t.match(document, { security: [{ token: [] }] });
  const changed = file.replace('10.10.0.12', '10.10.0.13');
  const check = async (path: string, token: string, body: object) => {
    const { status, text } = await ask(path, { method: 'POST', token, body });
    t.strictSame(faults(document, path, 'post', status, text), [], `${path}: ${status}`);
    return { status, json: JSON.parse(text) as { id: string } };
  };
  const { id } = (await check('/v1/plan', operate, { file: changed })).json;
  t.equal((await check('/v1/apply', admin, { file: changed, plan: id })).status, 200);
  await check('/v1/apply', admin, { file: changed, plan: id });
  await check('/v1/apply', operate, { file: changed, plan: id });
  await check('/v1/move', operate, { personality: 'web1' });
  await check('/v1/drain', operate, { host: 'h3' });
  await check('/v1/undrain', operate, { host: 'h3' });
  await check('/v1/fenced', admin, { host: 'h3', yes: true });
  const ids = Object.values(document.paths).flatMap((one) => Object.values(one));
  t.equal(new Set(ids.map(({ operationId }) => operationId)).size, ids.length);
  for (const [path, { post }] of Object.entries(document.paths))
    if (post !== undefined) t.ok(post.requestBody, `${path} tells what it takes`);
});
