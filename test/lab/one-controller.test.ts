import { join } from 'node:path';
import { test } from 'tap';
import { personality } from '../../src/demo/stage.js';
import { incarnationOf, openLab, untilSpare } from './harness.js';

const root = new URL('../../../', import.meta.url).pathname;

/** One controller, which carries nothing itself: its own loss is not the subject. */
const file = `
cluster: CLUSTER
controllers: [h1]
hosts: [{name: h1, pool: none}, {name: h2}, {name: h3}]
networks: [{name: blue, fabric: auto, id: 100, subnet: 10.10.0.0/24}]
personalities:
  - {name: web1, networks: [{network: blue, address: 10.10.0.11/24}]}
lab:
  clients: [{name: c1, network: blue, address: 10.10.0.200/24}]
`;

test('with one controller a failover waits for a person’s word, unless the host itself comes back', async (t) => {
  const { stage, lab } = await openLab(t, 'solo', {}, file);
  const before = await stage.status();
  const { host } = personality(before, 'web1');
  if (host === null) throw new Error('web1 has no host');
  await lab.kill(host);
  const held = await stage.until(
    'status says what it waits for',
    ({ personalities }) => personalities.some(({ phase }) => phase === 'failed'),
    20_000,
  );
  t.match(personality(held, 'web1'), {
    host,
    epoch: 1,
    reason: new RegExp(`understudy fenced ${host} --yes`),
  });
  const cli = [process.execPath, join(root, 'bin/understudy'), 'fenced', host];
  const careless = await stage.lab.exec('h1', cli);
  t.equal(careless.code, 1);
  t.match(careless.stderr, /US_FENCED_REFUSED/);
  t.equal(personality(await stage.status(), 'web1').host, host, 'nothing moved');
  const said = await stage.lab.exec('h1', [...cli, '--yes']);
  t.equal(said.code, 0, said.stderr);
  const after = await stage.until(
    'web1 runs on the other host',
    ({ personalities }) =>
      personalities.some((one) => one.host !== host && one.phase === 'running'),
    20_000,
  );
  t.equal(personality(after, 'web1').epoch, 2);
  const other = personality(after, 'web1').host ?? '';
  await lab.start(host);
  await untilSpare(stage, host, incarnationOf(before, host));
  // A host that comes back proves by itself that nothing of its former life is left.
  await lab.kill(other);
  await lab.start(other);
  const back = await stage.until(
    'web1 runs again',
    ({ personalities }) => personalities.some((one) => one.epoch === 3 && one.phase === 'running'),
    20_000,
  );
  t.equal(personality(back, 'web1').host, host);
});
