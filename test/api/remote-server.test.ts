import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { connect } from 'node:tls';
import { test } from 'tap';
import { z } from 'zod';
import { agentSchema } from '../../src/agent/config.js';
import { RemoteApi } from '../../src/api/remote-server.js';
import { writeTokenFile } from '../../src/api/token-file.js';
import { planInThread } from '../../src/operate/plan-thread.js';
import { pause, systemTimers } from '../../src/store/timers.js';
import { file, makeCertificate, openRemote, type Remote } from './remote-stage.js';

const post = (remote: Remote, path: string, token: string, body: unknown) =>
  remote.ask(path, { method: 'POST', token, body });

test('a token of role read shows all that loopback shows', async (t) => {
  const remote = await openRemote(t);
  const { ask, read } = remote;
  for (const path of [
    '/',
    '/healthz',
    '/metrics',
    '/v1/status',
    '/v1/failovers',
    '/v1/events?most=3',
  ])
    t.equal((await ask(path, { token: read })).status, 200, path);
  t.match(JSON.parse((await ask('/v1/audit', { token: read })).text), [{ who: 'root' }]);
  t.equal((await ask('/v1/status', { token: read, method: 'HEAD' })).status, 200);
});

test('operate moves, drains and undrains, and the audit log says who and from where', async (t) => {
  const remote = await openRemote(t);
  const { operate, store } = remote;
  const moved = await post(remote, '/v1/move', operate, { personality: 'web1', to: 'h4' });
  t.strictSame(JSON.parse(moved.text), { personality: 'web1', from: 'h1', to: 'h4' });
  const drained = await post(remote, '/v1/drain', operate, { host: 'h2' });
  t.strictSame(JSON.parse(drained.text), { host: 'h2', drained: true });
  t.ok(await store.get('drained/h2'));
  t.equal((await post(remote, '/v1/undrain', operate, { host: 'h2' })).status, 200);
  t.equal(await store.get('drained/h2'), undefined);
  const { entries } = await store.list('audit/');
  const told = entries.map(({ value }) => JSON.parse(value) as Record<string, string>);
  t.match(
    told.filter(({ what }) => what === 'move'),
    [{ who: 'operate', from: 'API of h1, 127.0.0.1', subject: 'web1' }],
  );
});

test('what the operation itself refuses is told with its own code', async (t) => {
  const remote = await openRemote(t);
  const { operate, admin } = remote;
  const again = await post(remote, '/v1/move', operate, { personality: 'web1', to: 'h1' });
  t.match([again.status, again.code], [409, 'US_MOVE_REFUSED']);
  const unknown = await post(remote, '/v1/drain', operate, { host: 'h9' });
  t.match([unknown.status, unknown.code], [404, 'US_HOST_UNKNOWN']);
  const fenced = await post(remote, '/v1/fenced', admin, { host: 'h2', yes: true });
  t.match([fenced.status, fenced.code], [409, 'US_FENCED_REFUSED']);
});

test('a plan is looked at first, and only that file is applied, on that definition', async (t) => {
  const remote = await openRemote(t);
  const { admin, operate, store } = remote;
  const changed = file.replace('10.10.0.12', '10.10.0.13');
  const planned = await post(remote, '/v1/plan', operate, { file: changed });
  const plan = JSON.parse(planned.text) as { id: string; operations: { at: string }[] };
  t.match(plan, { cluster: 'demo', generation: { from: 1, to: 2 }, changes: true });
  t.ok(plan.operations.some(({ at }) => at === 'h2'));
  t.match(await store.get('config'), { value: /10\.10\.0\.12/ }, 'planned only');

  const other = await post(remote, '/v1/apply', admin, { file, plan: plan.id });
  t.match([other.status, other.code], [409, 'US_API_PLAN'], 'another file');
  const applied = await post(remote, '/v1/apply', admin, { file: changed, plan: plan.id });
  t.strictSame(JSON.parse(applied.text), { cluster: 'demo', generation: 2 });
  const late = await post(remote, '/v1/apply', admin, { file: changed, plan: plan.id });
  t.match([late.status, late.code], [409, 'US_API_PLAN'], 'the definition is another by now');
});

test('an answer that takes longer than a caller may take is waited for', async (t) => {
  const timers = systemTimers();
  const slowestRequestMs = 1_000;
  const remote = await openRemote(t, {
    slowestRequestMs,
    readAndPlan: async (task) => {
      await pause(timers, 2 * slowestRequestMs);
      return planInThread(task);
    },
  });
  const planned = await post(remote, '/v1/plan', remote.operate, { file });
  t.equal(planned.status, 200, planned.text);
});

test('a certificate that is renewed under way is taken for new connections', async (t) => {
  const { folder, port, api } = await openRemote(t);
  const serial = () =>
    new Promise<string>((resolve) => {
      const socket = connect({ port, host: '127.0.0.1', rejectUnauthorized: false }, () => {
        resolve(socket.getPeerCertificate().serialNumber);
        socket.destroy();
      });
    });
  const before = await serial();
  makeCertificate(folder);
  api.renew();
  const after = await serial();
  t.not(after, before);
  rmSync(join(folder, 'cert.pem'));
  api.renew();
  t.equal(await serial(), after, 'a broken one leaves the former in place');
});

test('it does not start without TLS and tokens', async (t) => {
  const remote = await openRemote(t);
  const base = {
    host: 'h1',
    cluster: 'demo',
    store: { endpoints: ['http://e:1'] },
    underlayAddress: '10.66.0.1',
  };
  const cut = (remoteApi: object) => agentSchema.safeParse({ ...base, remoteApi }).error;
  t.match(z.prettifyError(cut({ bind: '0.0.0.0' }) ?? new z.ZodError([])), /remoteApi\.tls/);
  t.match(cut({ bind: '0.0.0.0', tls: { certificate: 'c' } }), { issues: [{}] });
  t.throws(
    () =>
      new RemoteApi({
        ...(remote as unknown as ConstructorParameters<typeof RemoteApi>[0]),
        timers: { nowMs: () => 0, after: () => () => {} },
        settings: {
          bind: '127.0.0.1',
          port: 0,
          tokens: '',
          tls: { certificate: '/none', key: '/none' },
        },
        source: { version: '' } as never,
      }),
    { code: 'US_API_TLS' },
  );
  writeTokenFile(remote.tokens, []);
  const nobody = await remote.ask('/', { token: remote.admin });
  t.equal(nobody.code, 'US_API_TOKEN', 'with an empty file nobody is let in');
});
