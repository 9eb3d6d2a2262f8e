import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'tap';
import { personality } from '../../src/demo/stage.js';
import { makeCertificate } from '../api/remote-stage.js';
import { understudy } from '../cli/run.js';
import { openLab, untilRuns } from '../lab/harness.js';

test('a real agent’s API for callers elsewhere moves a personality, and the audit log says who did', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), `ustest-${process.pid}-remote-`));
  t.teardown(() => rmSync(folder, { recursive: true }));
  makeCertificate(folder);
  const tokens = join(folder, 'tokens.json');
  const make = async (name: string, role: string) =>
    (await understudy(['token', 'add', name, '--role', role, '--file', tokens])).stdout.trim();
  const [reader, operator] = [await make('grafana', 'read'), await make('alice', 'operate')];
  const tls = { certificate: join(folder, 'cert.pem'), key: join(folder, 'key.pem') };
  const { stage, lab } = await openLab(t, 'remote', {
    agentSettings: { remoteApi: { bind: '0.0.0.0', tls, tokens } },
  });
  /** From another machine, as a person would. The token is in a file: arguments are for all to see. */
  const ask = async (token: string, path: string, ...more: readonly string[]) => {
    writeFileSync(join(folder, 'header'), `Authorization: Bearer ${token}\n`, { mode: 0o600 });
    const argv = ['curl', '-sk', '-m', '10', '-H', `@${join(folder, 'header')}`, ...more];
    const { code, stdout } = await stage.lab.exec('ctl', [
      ...argv,
      `https://10.66.0.1:7413${path}`,
    ]);
    t.equal(code, 0, path);
    return stdout;
  };
  const post = (token: string, path: string, body: object) =>
    ask(token, path, '-H', 'Content-Type: application/json', '-d', JSON.stringify(body));
  t.match(JSON.parse(await ask(reader, '/v1/status')), { cluster: 'remote', quorum: true });
  t.match(await ask(reader, '/metrics'), /understudy_store_up 1/);
  t.match(await post(reader, '/v1/move', { personality: 'web2' }), /US_API_ROLE/);
  const before = personality(await stage.status(), 'web2');
  const moved = JSON.parse(await post(operator, '/v1/move', { personality: 'web2' })) as {
    to: string;
  };
  t.equal(personality(await untilRuns(stage, 'web2', before.epoch + 1), 'web2').host, moved.to);
  const { stdout } = await understudy(['audit', '--json', '--lab', lab.name]);
  const audit = stdout
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as { what: string });
  t.match(
    audit.filter(({ what }) => what === 'move'),
    [{ who: 'alice', from: /^API of h1, 10\.66\.255\.250$/, subject: 'web2' }],
  );

  await t.test('what export writes is what stands; a plan by the API says so too', async (t) => {
    const { stdout: file } = await understudy(['export', '--lab', lab.name]);
    const path = join(folder, 'export.yaml');
    writeFileSync(path, file);
    const planned = await understudy(['plan', path, '--lab', lab.name]);
    t.equal(planned.code, 0, planned.stdout);
    const body = join(folder, 'body.json');
    writeFileSync(body, JSON.stringify({ file: readFileSync(path, 'utf8') }));
    const json = ['-H', 'Content-Type: application/json', '-d', `@${body}`];
    t.match(JSON.parse(await ask(operator, '/v1/plan', ...json)), {
      changes: false,
      id: /^\w{32}$/,
    });
  });
});
