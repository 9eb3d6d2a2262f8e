import tap, { test } from 'tap';
import { must, personality } from '../../src/demo/stage.js';
import { openLab, untilListening, untilRuns } from './harness.js';

tap.setTimeout(120_000);

/** It serves on every host but on those that have a certain file. */
const file = `
cluster: CLUSTER
controllers: [h1, h2, h3]
hosts: [{name: h1}, {name: h2}, {name: h3}]
networks: [{name: blue, fabric: auto, id: 100, subnet: 10.10.0.0/24}]
personalities:
  - name: web1
    networks: [{network: blue, address: 10.10.0.11/24}]
    workload:
      command: [sh, -c, "test ! -e /run/broken && exec busybox httpd -f -p 80 -h /usr/share"]
      moveAfterFailures: 3
lab:
  clients: [{name: c1, network: blue, address: 10.10.0.200/24}]
`;

test('a workload that fails on one host tries another, as its file says', async (t) => {
  const { stage } = await openLab(t, 'failing', {}, file);
  const before = personality(await stage.status(), 'web1');
  await untilListening(stage, 'c1', ['10.10.0.11']);
  await must(stage, before.host ?? '', ['touch', '/run/broken']);
  await must(stage, before.host ?? '', ['pkill', '-f', '^busybox httpd']);
  const failing = await stage.until(
    'status tells of it',
    (status) => personality(status, 'web1').failures !== null,
    10_000,
  );
  t.match(personality(failing, 'web1').reason, /^its workload failed, \d+ in a row: /);
  const after = personality(await untilRuns(stage, 'web1', before.epoch + 1), 'web1');
  t.not(after.host, before.host);
  await untilListening(stage, 'c1', ['10.10.0.11']);
  t.equal(after.failures, null, 'there it is well');
  const record = await stage.failover('web1', before.epoch + 1, 10_000);
  t.match(record, { outcome: 'ok', from: before.host, to: after.host, cause: 'move' });
});
