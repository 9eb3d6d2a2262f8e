import { test } from 'tap';
import { must } from '../../src/demo/stage.js';
import type { Result } from '../../src/doctor/types.js';
import type { Lab } from '../../src/lab/lab.js';
import { root, understudy } from '../cli/run.js';
import { openLab } from './harness.js';

interface Report {
  readonly ok: boolean;
  readonly checks: readonly Result[];
}

async function doctor(lab: Lab, code: number): Promise<ReadonlyMap<string, Result>> {
  const ran = await understudy(['doctor', '--json', '--lab', lab.name]);
  const { ok, checks } = JSON.parse(ran.stdout) as Report;
  const troubled = checks.filter(({ verdict }) => verdict === 'problem');
  if (ran.code !== code || ok !== (code === 0)) {
    throw new Error(`exit code ${ran.code}: ${JSON.stringify(troubled)} ${ran.stderr}`);
  }
  return new Map(checks.map((one) => [one.id, one]));
}

test('doctor finds what was broken, and nothing before', async (t) => {
  const { stage, lab } = await openLab(t, 'doctor');
  // A machine that is busy with other tests is slow to answer; that is not what this is about.
  const verdicts = (checks: ReadonlyMap<string, Result>, ...ids: readonly string[]) =>
    ids.map((id) => checks.get(id)?.verdict);

  const before = await doctor(lab, 0);
  const sound = ['store-members', 'lease-pulse', 'lease-agent', 'lease-held', 'cluster-spare'];
  t.same(verdicts(before, ...sound), ['ok', 'ok', 'ok', 'ok', 'ok']);
  t.same(verdicts(before, 'volume-portals', 'volume-mask'), ['ok', 'ok']);

  await t.test('on a host, with its own configuration', async (t) => {
    const argv = [process.execPath, `${root}bin/understudy`, 'doctor', '--json'];
    const { stdout } = await lab.exec(lab.command('h1', argv));
    const checks = new Map((JSON.parse(stdout) as Report).checks.map((one) => [one.id, one]));
    t.same(verdicts(checks, 'nic-underlay', 'nic-mtu', 'file-key'), ['ok', 'ok', 'ok']);
    await must(stage, 'h1', ['chmod', '0644', '/etc/understudy/cluster.key']);
    const again = await lab.exec(lab.command('h1', argv));
    t.equal(again.code, 1);
    const key = (JSON.parse(again.stdout) as Report).checks.find(({ id }) => id === 'file-key');
    t.match(key, { verdict: 'problem', saw: /mode 0644/, remedy: /chmod 0600/ });
    await must(stage, 'h1', ['chmod', '0600', '/etc/understudy/cluster.key']);
  });

  await t.test('no spare left', async (t) => {
    const idle = (await stage.status()).hosts.filter((one) => one.personalities.length === 0);
    for (const { name } of idle) await understudy(['drain', name, '--lab', lab.name]);
    const checks = await doctor(lab, 0);
    t.match(checks.get('cluster-spare'), { verdict: 'warning', saw: /no spare left/ });
    t.match(checks.get('cluster-drained'), { verdict: 'warning' });
    for (const { name } of idle) await understudy(['undrain', name, '--lab', lab.name]);
  });

  await t.test('a stopped pulse', async (t) => {
    await must(stage, 'h4', ['pkill', '-STOP', '-f', 'understudy pulse']);
    await stage.until(
      'h4 is voted out',
      ({ hosts }) => hosts.some(({ name, state }) => name === 'h4' && state !== 'up'),
      20_000,
    );
    const checks = await doctor(lab, 1);
    t.match(checks.get('lease-pulse'), { verdict: 'problem', saw: /^h4: / });
    t.match(checks.get('cluster-hosts'), { verdict: 'problem', saw: /h4/ });
    await must(stage, 'h4', ['pkill', '-CONT', '-f', 'understudy pulse']);
  });

  await t.test('a dead etcd member', async (t) => {
    const killed = await lab.exec(
      lab.command('etcd3', ['pkill', '-9', '-f', '^etcd --name etcd3']),
    );
    t.equal(killed.code, 0);
    const checks = await doctor(lab, 1);
    t.match(checks.get('store-members'), {
      verdict: 'problem',
      saw: /^2 of 3 up; .*10\.66\.255\.3/,
    });
    t.match(checks.get('store-quorum'), { verdict: 'ok', saw: /0 may fail yet/ });
  });
});
