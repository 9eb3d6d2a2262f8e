import { connect } from 'node:net';
import { type Test, test } from 'tap';
import { ApiServer } from '../../src/api/server.js';
import type { ApiSource } from '../../src/api/types.js';
import { source } from './source.js';

async function serve(t: Test, changes: Partial<ApiSource> = {}) {
  const server = new ApiServer(source(changes), { bind: '127.0.0.1', port: 0 });
  const port = await server.start();
  t.teardown(() => server.stop());
  const get = async (path: string, init: RequestInit = {}) => {
    const answer = await fetch(`http://127.0.0.1:${port}${path}`, init);
    return { status: answer.status, text: await answer.text(), headers: answer.headers };
  };
  return { port, get };
}

/** One request by hand: fetch sends no foreign Host header. */
function raw(port: number, text: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = connect(port, '127.0.0.1', () => socket.write(text));
    let answer = '';
    socket.setEncoding('utf8').on('data', (part: string) => {
      answer += part;
    });
    socket.on('close', () => resolve(answer));
    socket.on('error', reject);
  });
}

test('status, failovers and events are what the commands print', async (t) => {
  const { get } = await serve(t);
  t.match(JSON.parse((await get('/v1/status')).text), {
    cluster: 'demo',
    hosts: [{ name: 'h1', state: 'up' }, {}, { name: 'h3', state: 'expired' }, {}],
  });
  t.match(JSON.parse((await get('/v1/failovers')).text), [{ id: 'web1-2', to: 'h1' }]);
  t.match(JSON.parse((await get('/v1/failovers/web1-2')).text), { epoch: 2 });
  t.equal(JSON.parse((await get('/v1/events?most=5')).text).length, 5);
  t.match(JSON.parse((await get('/')).text), {
    host: 'h1',
    paths: ['/', '/page', '/page/status.css', '/page/status.js', '/healthz', '/metrics'],
  });
});

test('metrics are in the form and names that Prometheus expects', async (t) => {
  const { get } = await serve(t);
  const { text, headers } = await get('/metrics');
  t.match(headers.get('content-type'), /^text\/plain; version=0\.0\.4/);
  for (const line of [
    'understudy_build_info{version="1.2.3"} 1',
    'understudy_store_up 1',
    'understudy_host_state{host="h3",state="expired"} 1',
    'understudy_host_state{host="h3",state="up"} 0',
    'understudy_spares{pool="default"} 1',
    'understudy_personality_epoch{personality="web1"} 1',
    'understudy_workload_failures{personality="web1"} 0',
    'understudy_service_member_slots{service="web",personality="web1"} 7',
    'understudy_service_forwarded_packets_total{service="web",personality="web1"} 7',
    'understudy_service_passed_packets_total{service="web"} 3',
    'understudy_service_dropped_packets_total{service="web",reason="malformed"} 2',
    'understudy_last_failover_timestamp_seconds{kind="personality",name="web1",cause="lease-expired"} 1700000000',
    'understudy_last_failover_duration_seconds{kind="personality",name="web1",cause="lease-expired"} 0.21',
    'understudy_lease_remaining_seconds 0.15',
    'understudy_last_ack_age_seconds{host="h2"} 0.02',
    'understudy_pulse_packets_total{what="bad-mac"} 3',
    // Not counted yet: an alert on its growth needs where it began.
    'understudy_pulse_packets_total{what="forged"} 0',
  ]) {
    t.ok(text.split('\n').includes(line), line);
  }
  const names = [...text.matchAll(/^# HELP (\S+) \S/gm)].map(([, name]) => name);
  t.equal(new Set(names).size, names.length, 'each has its help, once');
});

test('health is a status code that a load balancer understands', async (t) => {
  const { get } = await serve(t);
  t.equal((await get('/healthz')).status, 200);
  const sick = await serve(t, { health: async () => ({ store: false, pulse: true }) });
  const { status, text } = await sick.get('/healthz');
  t.equal(status, 503);
  t.same(JSON.parse(text), { store: false, pulse: true });
});

test('before anything was applied, and when the source fails, the answer is an error with its code', async (t) => {
  const { get } = await serve(t, {
    status: async () => undefined,
    events: () => Promise.reject(new Error('the store is away')),
  });
  t.match(JSON.parse((await get('/v1/status')).text), { error: { code: 'US_NOT_APPLIED' } });
  const events = await get('/v1/events');
  t.equal(events.status, 500);
  t.match(JSON.parse(events.text), { error: { code: 'US_UNEXPECTED', cause: /away/ } });
  t.equal((await get('/metrics')).status, 200, 'what is known is told');
});

const refused: readonly (readonly [what: string, path: string, status: number, code: string])[] = [
  ['an unknown path', '/v1/secrets', 404, 'US_API_NOT_FOUND'],
  ['a path out of the tree', '/v1/../../etc/passwd', 404, 'US_API_NOT_FOUND'],
  [
    'an encoded path out of the tree',
    '/v1/failovers/..%2f..%2fetc%2fpasswd',
    404,
    'US_FAILOVER_UNKNOWN',
  ],
  ['a record that is not there', '/v1/failovers/web1-9', 404, 'US_FAILOVER_UNKNOWN'],
  ['a name without end', `/v1/failovers/${'x'.repeat(2_000)}`, 414, 'US_API_REQUEST'],
  ['a broken escape', '/v1/failovers/%zz', 400, 'US_API_REQUEST'],
  ['no number', '/v1/events?most=all', 400, 'US_API_REQUEST'],
  ['a number beyond the bound', '/v1/events?most=1000000', 400, 'US_API_REQUEST'],
];

for (const [what, path, status, code] of refused) {
  test(`refused: ${what}`, async (t) => {
    const { get } = await serve(t);
    const answer = await get(path);
    t.equal(answer.status, status);
    t.match(JSON.parse(answer.text), { ok: false, error: { code } });
  });
}

for (const method of ['POST', 'PUT', 'DELETE', 'PATCH']) {
  test(`refused: ${method}, for the API only shows`, async (t) => {
    const { get } = await serve(t);
    const answer = await get('/v1/status', { method, body: method === 'DELETE' ? null : 'x' });
    t.equal(answer.status, 405);
    t.equal(answer.headers.get('allow'), 'GET, HEAD');
  });
}

test('refused: a name that somebody else’s page resolved to loopback', async (t) => {
  const { port } = await serve(t);
  for (const host of ['evil.example', 'evil.example:7412', '10.0.0.1', '']) {
    const answer = await raw(
      port,
      `GET /v1/status HTTP/1.1\r\nHost: ${host}\r\nConnection: close\r\n\r\n`,
    );
    t.match(answer, /^HTTP\/1\.1 4\d\d/, JSON.stringify(host));
    t.notMatch(answer, /"personalities"/);
  }
  const good = await raw(
    port,
    'GET /v1/status HTTP/1.1\r\nHost: localhost:1\r\nConnection: close\r\n\r\n',
  );
  t.match(good, /^HTTP\/1\.1 200/);
});

test('refused: headers without end', async (t) => {
  const { port } = await serve(t);
  const long = `GET / HTTP/1.1\r\nHost: localhost\r\nX: ${'y'.repeat(100_000)}\r\n\r\n`;
  t.match(await raw(port, long), /^HTTP\/1\.1 431/);
});

test('an address that others can reach is refused, and so is a port that is taken', async (t) => {
  const open = new ApiServer(source(), { bind: '0.0.0.0', port: 0 });
  await t.rejects(open.start(), { code: 'US_API_BIND' });
  const { port } = await serve(t);
  const second = new ApiServer(source(), { bind: '127.0.0.1', port });
  await t.rejects(second.start(), { code: 'US_API_BIND' });
  await second.stop();
});
