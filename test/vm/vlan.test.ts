import tap, { test } from 'tap';
import { must } from '../../src/demo/stage.js';
import { openLab } from '../lab/harness.js';
import { address, debianHosts, isolation, target, trunk } from './trunk.js';

tap.setTimeout(1_800_000);

test('personalities on Debian’s own kernel, with 802.1Q and a LUN', async (t) => {
  const startedMs = Date.now();
  const settings = { agentSettings: { storageBackend: 'kernel' } };
  const { stage, lab } = await openLab(t, 'vlan', settings, trunk(['h1']));
  t.comment(`up after ${Math.round((Date.now() - startedMs) / 1_000)} s`);
  await t.test('the host is Debian, with the package’s units', (t) =>
    debianHosts(t, stage, lab, 'h1'),
  );
  await t.test('frames are tagged, and each VLAN keeps to itself', (t) => isolation(t, stage, lab));
  await t.test(
    'the volume is the LUN behind the target, by the kernel’s own initiator',
    async (t) => {
      const sessions = await must(stage, 'h1', ['iscsiadm', '-m', 'session']);
      t.match(sessions, new RegExp(`^tcp: .* ${target.replaceAll('.', '\\.')} `), 'its session');
      const scopes = ['systemctl', 'list-units', '--plain', '--no-legend', '--type=scope'];
      const disks = await must(stage, 'h1', [...scopes, 'understudy-disk-*']);
      t.equal(disks, '', 'and no disk process of ours');
      const text = `kept-${Date.now()}`;
      const write = `echo ${text} > /srv/shop/text && sync /srv/shop/text`;
      await must(stage, 'web-1', ['sh', '-c', write]);
      const page = ['curl', '-s', '-m', '20', `http://${address}/text`];
      t.equal(await must(stage, 'c1', page), `${text}\n`, 'a client reads what is on it');
      const file = lab.backingFile(target, 1);
      // No start of a line: what is before it is whatever the block before ends with.
      t.match(await must(stage, 'storage', ['grep', '-c', '-a', `${text}$`, file]), /^[1-9]/);
    },
  );
  t.comment(`all in ${Math.round((Date.now() - startedMs) / 1_000)} s`);
});
