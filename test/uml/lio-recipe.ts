import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync } from 'node:fs';
import tap, { test } from 'tap';
import { IscsiSession } from '../../src/storage/iscsi-session.js';
import { LioMask } from '../../src/storage/lio-mask.js';
import { type AttachSpec, initiatorName } from '../../src/storage/types.js';
import { UserStorage } from '../../src/storage/user-storage.js';
import { blockBelow, page } from '../docs/pages.js';
import { codeOf } from '../storage/attached.js';

/** Run in a guest whose kernel has LIO: the commands of docs/targets.md, as they stand there. */
tap.setTimeout(140_000);
const never = new AbortController().signal;
const target = 'iqn.2026-11.example.san:web1';
const portal = '10.77.0.1:3260';
const saved = '/etc/rtslib-fb-target/saveconfig.json';
const recipe = page('docs/targets.md');
const shell = (lines: readonly string[]) =>
  execFileSync('sh', ['-e', '-c', lines.join('\n')], { encoding: 'utf8', timeout: 100_000 });
const who = (host: string, epoch: number) => initiatorName('shop', 'web1', host, epoch);
const login = (initiator: string) => IscsiSession.login([portal], target, initiator, never);

interface Saved {
  readonly targets: readonly {
    readonly tpgs: readonly { readonly node_acls: readonly { readonly node_wwn: string }[] }[];
  }[];
}

function savedAcls(): readonly string[] {
  const { targets } = JSON.parse(readFileSync(saved, 'utf8')) as Saved;
  return targets.flatMap(({ tpgs }) =>
    tpgs.flatMap(({ node_acls }) => node_acls.map(({ node_wwn }) => node_wwn)),
  );
}

test('LIO as docs/targets.md says', async (t) => {
  mkdirSync('/srv/luns', { recursive: true });
  shell([
    'ip addr add 10.77.0.1/24 dev lo',
    // What a machine has running; targetcli asks on it for other kinds of disks.
    'mkdir -p /run/dbus && dbus-daemon --system --fork',
    'mount -t configfs none /sys/kernel/config',
  ]);
  shell(blockBelow(recipe, '## LIO', 'sh'));
  t.equal(await codeOf(login('iqn.2026-11.test:anybody')), 'US_STORAGE_TARGET_NOT_FOUND');
  const mask = new LioMask({ cluster: 'shop', ledgerFile: '/run/epochs.json' });
  const order = { target, luns: [1], personality: 'web1' };
  await mask.apply({ ...order, epoch: 1, initiator: who('h1', 1) }, never);
  const session = await login(who('h1', 1));
  const { blocks, blockSizeBytes } = await session.capacity(1);
  t.equal(Number(blocks) * blockSizeBytes, 1024 ** 3, 'LUN 1 has its size');
  await session.close();

  await t.test('what is saved lets in nobody', async (t) => {
    t.same(savedAcls(), [], 'leaving targetcli has saved nothing');
    shell(['targetcli /iscsi ls > /dev/null', 'targetcli saveconfig']);
    t.same(savedAcls(), [who('h1', 1)], 'somebody saves all the same');
    const [, line = ''] = blockBelow(recipe, '### What is saved', 'ini');
    shell([line.replace(/^ExecStartPre=/, '')]);
    t.same(savedAcls(), []);
    shell(['targetctl clear', 'targetctl restore']);
    t.equal(await codeOf(login(who('h1', 1))), 'US_STORAGE_TARGET_NOT_FOUND');
    await mask.apply({ ...order, epoch: 2, initiator: who('h2', 2) }, never);
    await (await login(who('h2', 2))).close();
    await mask.apply({ ...order, epoch: 3, initiator: undefined }, never);
  });

  await t.test('with reservations instead', async (t) => {
    shell(blockBelow(recipe, '### Reservations instead', 'sh'));
    const runDirectory = '/run/h1';
    mkdirSync(runDirectory);
    const storage = new UserStorage({ runDirectory });
    await storage.start(never);
    const volume: AttachSpec = {
      ...{ cluster: 'shop', personality: 'web1', host: 'h1', epoch: 4, lun: 0, volume: 'data' },
      ...{ portals: [portal], target, targetLun: 1, filesystem: 'ext4', format: 'if-blank' },
      ...{ recordedSerial: undefined, fence: 'reservation' },
    };
    const { key } = await storage.fence(volume, never);
    t.match(key, /^0x/);
    const { hostMount } = await storage.attach(volume, never);
    t.ok(existsSync(`${hostMount}/lost+found`));
    await storage.detach('web1', 0, never);
    await storage.stop();
  });
});
