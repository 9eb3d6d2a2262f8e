import { test } from 'tap';
import { personality } from '../../src/demo/stage.js';
import { PingWatch } from '../../src/observe/observers.js';
import { openLab } from './harness.js';
import { pulseStatus } from './pulse-status.js';

const program = new URL('../../../bin/understudy', import.meta.url).pathname;

/** Two hosts carry something: one of them a controller, so that both parts of pulse restart. */
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

test('pulse and agent are restarted as an upgrade does it: no ping is lost', async (t) => {
  const { stage, lab } = await openLab(t, 'upgrade', {}, file);
  const pings = ['10.10.0.11', '10.10.0.12'].map((one) => new PingWatch(stage.lab, 'c1', one));
  t.teardown(() => Promise.all(pings.map((ping) => ping.stop())));
  const startMs = Date.now();
  for (const ping of pings) await ping.answerAfter(startMs, 10_000);
  const before = await stage.status();
  // Ends it in its host's own PID namespace; the host starts it again a second later.
  const restart = ['pkill', '-TERM', '-f', '[u]nderstudy pulse --config'];
  for (const host of ['h4', 'h1']) {
    const { nonce } = await pulseStatus(lab, host);
    const argv = [process.execPath, program, 'pulse-restart', '--json', '--', ...restart];
    const { code, stdout, stderr } = await stage.lab.exec(host, argv);
    t.equal(code, 0, `${host}: ${stdout}${stderr}`);
    const after = await pulseStatus(lab, host);
    t.not(after.nonce, nonce, 'another pulse');
    t.ok(after.held, 'which holds the lease');
    await lab.machine(host).daemon('agent').restart();
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
  const ended = async () => {
    const statuses = await Promise.all(['h1', 'h4'].map((host) => pulseStatus(lab, host)));
    return statuses.every(({ deadlineMs, nowMs }) => (deadlineMs ?? 0) - nowMs <= 200);
  };
  while (!(await ended()));
  t.pass('leases are ordinary ones again');
});
