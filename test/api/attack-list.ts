import { type Ask, file, type Remote } from './remote-stage.js';

/** Each is tried, and refused with this status and code; afterwards nothing in the store has changed. */
export type Attack = readonly [
  what: string,
  how: (remote: Remote) => Ask & { readonly path: string },
  status: number,
  code: string,
];

const post = (path: string, token: string, more: Ask) => ({ path, method: 'POST', token, ...more });
const json = { 'content-type': 'application/json' };
const move = { personality: 'web1', to: 'h4' };

const withoutRight: readonly Attack[] = [
  ['no token', () => ({ path: '/v1/status' }), 401, 'US_API_TOKEN'],
  ['no token, a path that does not exist', () => ({ path: '/x' }), 401, 'US_API_TOKEN'],
  ['an empty token', () => ({ path: '/', token: '' }), 401, 'US_API_TOKEN'],
  [
    'a password instead of a token',
    ({ admin }) => ({
      path: '/',
      headers: { authorization: `Basic ${Buffer.from(`admin:${admin}`).toString('base64')}` },
    }),
    401,
    'US_API_TOKEN',
  ],
  ['a token in the address', ({ read }) => ({ path: `/?token=${read}` }), 401, 'US_API_TOKEN'],
  [
    'a token in a cookie',
    ({ read }) => ({ path: '/', headers: { cookie: `token=${read}` } }),
    401,
    'US_API_TOKEN',
  ],
  ['a token of no form', () => ({ path: '/', token: 'let-me-in' }), 401, 'US_API_TOKEN'],
  [
    'a token that nobody has',
    () => ({ path: '/', token: `us1.${'0'.repeat(12)}.${'A'.repeat(43)}` }),
    401,
    'US_API_TOKEN',
  ],
  [
    'the id of one that is there, with another secret',
    ({ admin }) => ({ path: '/', token: `${admin.slice(0, 17)}${'A'.repeat(43)}` }),
    401,
    'US_API_TOKEN',
  ],
  [
    'the secret of one with the id of another',
    ({ admin, read }) => ({ path: '/', token: `${admin.slice(0, 17)}${read.slice(17)}` }),
    401,
    'US_API_TOKEN',
  ],
  ['half a token', ({ admin }) => ({ path: '/', token: admin.slice(0, 40) }), 401, 'US_API_TOKEN'],
  ['more than a token', ({ admin }) => ({ path: '/', token: `${admin}A` }), 401, 'US_API_TOKEN'],
  [
    'a hash from the file as a token',
    ({ entries }) => ({
      path: '/',
      token: `us1.${entries[0]?.id}.${entries[0]?.hash.slice(0, 43)}`,
    }),
    401,
    'US_API_TOKEN',
  ],
  ['an expired token', ({ expired }) => ({ path: '/', token: expired }), 401, 'US_API_TOKEN'],
  [
    'an expired token, to change something',
    ({ expired }) => post('/v1/move', expired, { body: move }),
    401,
    'US_API_TOKEN',
  ],
];

const wrongRole: readonly Attack[] = [
  ['read moves', ({ read }) => post('/v1/move', read, { body: move }), 403, 'US_API_ROLE'],
  [
    'read drains',
    ({ read }) => post('/v1/drain', read, { body: { host: 'h1' } }),
    403,
    'US_API_ROLE',
  ],
  ['read plans', ({ read }) => post('/v1/plan', read, { body: { file } }), 403, 'US_API_ROLE'],
  [
    'operate applies',
    ({ operate }) => post('/v1/apply', operate, { body: { file, plan: '0'.repeat(32) } }),
    403,
    'US_API_ROLE',
  ],
  [
    'operate says that a host is off',
    ({ operate }) => post('/v1/fenced', operate, { body: { host: 'h1', yes: true } }),
    403,
    'US_API_ROLE',
  ],
  [
    'read asks GET and means POST',
    ({ read }) => ({
      ...{ path: '/v1/drain', token: read },
      headers: { 'x-http-method-override': 'POST' },
    }),
    405,
    'US_API_METHOD',
  ],
];

const malformed: readonly Attack[] = [
  [
    'no JSON',
    ({ operate }) => post('/v1/move', operate, { rawBody: '{', headers: json }),
    400,
    'US_API_REQUEST',
  ],
  [
    'nothing',
    ({ operate }) => post('/v1/move', operate, { rawBody: 'null', headers: json }),
    400,
    'US_API_REQUEST',
  ],
  ['no body', ({ operate }) => post('/v1/move', operate, {}), 400, 'US_API_REQUEST'],
  ['a list', ({ operate }) => post('/v1/move', operate, { body: [move] }), 400, 'US_API_REQUEST'],
  [
    'an unknown key',
    ({ operate }) => post('/v1/move', operate, { body: { ...move, force: true } }),
    400,
    'US_API_REQUEST',
  ],
  [
    'another type',
    ({ operate }) => post('/v1/drain', operate, { body: { host: ['h1'] } }),
    400,
    'US_API_REQUEST',
  ],
  [
    'a poisoned prototype',
    ({ operate }) =>
      post('/v1/drain', operate, {
        rawBody: '{"host":"h1","__proto__":{"role":"admin"}}',
        headers: json,
      }),
    400,
    'US_API_REQUEST',
  ],
  [
    'a poisoned constructor',
    ({ operate }) =>
      post('/v1/drain', operate, {
        rawBody: '{"host":"h1","constructor":{"prototype":{"role":"admin"}}}',
        headers: json,
      }),
    400,
    'US_API_REQUEST',
  ],
  [
    'a name that is a path',
    ({ operate }) => post('/v1/drain', operate, { body: { host: '../../config' } }),
    400,
    'US_API_REQUEST',
  ],
  [
    'a name with a line of its own for the log',
    ({ operate }) => post('/v1/drain', operate, { body: { host: 'h1\nroot: apply' } }),
    400,
    'US_API_REQUEST',
  ],
  [
    'a form, as a page elsewhere could send',
    ({ operate }) =>
      post('/v1/drain', operate, {
        ...{ rawBody: 'host=h1', headers: { 'content-type': 'application/x-www-form-urlencoded' } },
      }),
    415,
    'US_API_REQUEST',
  ],
  [
    'plain text, as a page elsewhere could send',
    ({ operate }) =>
      post('/v1/drain', operate, {
        ...{ rawBody: '{"host":"h1"}', headers: { 'content-type': 'text/plain' } },
      }),
    415,
    'US_API_REQUEST',
  ],
  [
    'not said to be off',
    ({ admin }) => post('/v1/fenced', admin, { body: { host: 'h2', yes: false } }),
    400,
    'US_API_REQUEST',
  ],
  [
    'a body that is too large',
    ({ operate }) => post('/v1/move', operate, { body: { personality: 'x'.repeat(5_000) } }),
    413,
    'US_API_REQUEST',
  ],
  [
    'a file that is too large',
    ({ operate }) => post('/v1/plan', operate, { body: { file: '#'.repeat(3_000_000) } }),
    413,
    'US_API_REQUEST',
  ],
  [
    'a path out of the tree',
    ({ read }) => ({ path: '/v1/../../etc/passwd', token: read }),
    404,
    'US_API_NOT_FOUND',
  ],
  [
    'an encoded path out of the tree',
    ({ read }) => ({ path: '/v1/failovers/..%2f..%2f..%2fetc%2fpasswd', token: read }),
    404,
    'US_FAILOVER_UNKNOWN',
  ],
  [
    'a zero byte',
    ({ read }) => ({ path: '/v1/failovers/a%00b', token: read }),
    404,
    'US_FAILOVER_UNKNOWN',
  ],
  [
    'a broken escape',
    ({ read }) => ({ path: '/v1/failovers/%zz', token: read }),
    400,
    'US_API_REQUEST',
  ],
  [
    'an unknown question',
    ({ read }) => ({ path: '/v1/events?most=5&all=1', token: read }),
    400,
    'US_API_REQUEST',
  ],
  [
    'a question twice',
    ({ read }) => ({ path: '/v1/events?most=5&most=6', token: read }),
    400,
    'US_API_REQUEST',
  ],
  [
    'DELETE',
    ({ admin }) => ({ path: '/v1/status', method: 'DELETE', token: admin }),
    405,
    'US_API_METHOD',
  ],
  [
    'PUT',
    ({ admin }) => ({ path: '/v1/apply', method: 'PUT', token: admin, body: { file } }),
    405,
    'US_API_METHOD',
  ],
];

const files: readonly Attack[] = [
  [
    'apply without a plan',
    ({ admin }) => post('/v1/apply', admin, { body: { file } }),
    400,
    'US_API_REQUEST',
  ],
  [
    'apply with a made-up plan',
    ({ admin }) =>
      post('/v1/apply', admin, {
        body: { file: file.replace('.12/', '.13/'), plan: '0'.repeat(32) },
      }),
    409,
    'US_API_PLAN',
  ],
  [
    'a file of another cluster',
    ({ operate }) =>
      post('/v1/plan', operate, {
        body: { file: file.replace('cluster: demo', 'cluster: other') },
      }),
    409,
    'US_APPLY_CLUSTER',
  ],
  [
    'YAML that multiplies itself',
    ({ operate }) => {
      const lines = Array.from(
        { length: 12 },
        (_, at) => `a${at + 1}: &a${at + 1} [${Array(10).fill(`*a${at}`).join(', ')}]`,
      );
      return post('/v1/plan', operate, { body: { file: `a0: &a0 [x]\n${lines.join('\n')}\n` } });
    },
    400,
    'US_API_FILE',
  ],
  [
    'YAML that is nested without end',
    ({ operate }) => post('/v1/plan', operate, { body: { file: '['.repeat(100_000) } }),
    400,
    'US_API_FILE',
  ],
  [
    'a lab’s section',
    ({ operate }) => post('/v1/plan', operate, { body: { file: `${file}lab: {clients: []}\n` } }),
    400,
    'US_API_FILE',
  ],
];

export const attackGroups: Readonly<Record<string, readonly Attack[]>> = {
  withoutRight,
  wrongRole,
  malformed,
  files,
};
