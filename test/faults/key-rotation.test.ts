import { randomBytes } from 'node:crypto';
import { test } from 'tap';
import { must, personality } from '../../src/demo/stage.js';
import { PingWatch } from '../../src/observe/observers.js';
import { blocks, page } from '../docs/pages.js';
import { openLab } from '../lab/harness.js';
import { pulseStatus } from '../lab/pulse-status.js';

const program = new URL('../../../bin/understudy', import.meta.url).pathname;

const file = `
cluster: CLUSTER
controllers: [h1, h2, h3]
hosts: [{name: h1, pool: one}, {name: h2, pool: none}, {name: h3, pool: none}, {name: h4, pool: two}]
networks: [{name: blue, fabric: auto, id: 100, subnet: 10.10.0.0/24}]
personalities:
  - {name: web1, networks: [{network: blue, address: 10.10.0.11/24}], pool: one}
  - {name: web2, networks: [{network: blue, address: 10.10.0.12/24}], pool: two}
lab:
  clients: [{name: c1, network: blue, address: 10.10.0.200/24}]
`;

/** As docs/operations.md has them, one after the other on every host. */
const steps = blocks(page('docs/operations.md'))
  .flatMap(({ lines }) => lines)
  .flatMap((line) => /^understudy key (.*)$/.exec(line)?.[1] ?? [])
  .map((words) => words.replace('new.key', '/root/new.key').split(' '));

test('the cluster key is changed on every host: no ping is lost', async (t) => {
  const { stage, lab } = await openLab(t, 'keys', {}, file);
  const pings = ['10.10.0.11', '10.10.0.12'].map((one) => new PingWatch(stage.lab, 'c1', one));
  t.teardown(() => Promise.all(pings.map((ping) => ping.stop())));
  const startMs = Date.now();
  for (const ping of pings) await ping.answerAfter(startMs, 10_000);
  const before = await stage.status();
  const hosts = ['h1', 'h2', 'h3', 'h4'];
  const young = randomBytes(32).toString('base64');
  for (const host of hosts)
    await must(stage, host, ['sh', '-c', `umask 077; echo ${young} > /root/new.key`]);
  const key = (host: string, ...argv: readonly string[]) =>
    stage.lab.exec(host, [process.execPath, program, 'key', ...argv, '--json']);
  const keysOf = async (host: string) =>
    JSON.parse((await key(host, 'show')).stdout) as { signs: string; accepts: string | null };
  const { signs: old } = await keysOf('h1');

  await t.test('what would part the hosts is refused', async (t) => {
    t.match(await key('h1', 'drop'), { code: 1, stderr: /US_KEY_REFUSED[\s\S]*one key only/ });
    t.equal((await key('h1', 'accept', '/root/new.key')).code, 0);
    t.match(await key('h1', 'use'), { code: 1, stderr: /h2, h3, h4 would not understand it/ });
    t.match(await key('h1', 'drop'), { code: 1, stderr: /h2, h3, h4 signs by the other key/ });
    t.match(await keysOf('h1'), { signs: old });
  });
  t.equal(steps.length, 3);
  for (const step of steps) {
    for (const host of hosts) {
      const { code, stdout, stderr } = await key(host, ...step);
      t.equal(code, 0, `${host} ${step[0]}: ${stdout}${stderr}`);
      t.ok((await pulseStatus(lab, host)).held);
    }
  }
  for (const host of hosts) {
    const now = await keysOf(host);
    t.not(now.signs, old);
    t.equal(now.accepts, null, `${host} has the new key alone`);
    const { counters } = await pulseStatus(lab, host);
    t.equal(counters.forged ?? 0, 0, 'nobody was misunderstood at any time');
  }
  for (const ping of pings) {
    await ping.answerAfter(Date.now(), 5_000);
    t.equal(ping.lostAfter(startMs), 0, `of ${ping.answers} pings none is lost`);
  }
  const after = await stage.status();
  for (const name of ['web1', 'web2']) {
    const [was, is] = [personality(before, name), personality(after, name)];
    t.same([is.host, is.epoch], [was.host, was.epoch], `${name} is where it was`);
  }
});
