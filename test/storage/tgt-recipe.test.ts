import { execFileSync } from 'node:child_process';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'tap';
import { IscsiSession } from '../../src/storage/iscsi-session.js';
import { readTargetConfig } from '../../src/storage/target-main.js';
import { TgtMask } from '../../src/storage/tgt-mask.js';
import { initiatorName } from '../../src/storage/types.js';
import { blockBelow, page } from '../docs/pages.js';
import { codeOf } from './attached.js';
import { startLunServer } from './lun-server.js';

const never = new AbortController().signal;
const target = 'iqn.2026-11.example.san:web1';
const recipe = page('docs/targets.md');

test('tgt as docs/targets.md says: nobody is let in but by understudy target', async (t) => {
  const port = 3330;
  const server = await startLunServer(t, port);
  const { controlPort, ipcSocket, directory, portal } = server;
  const [luns, configuration] = [join(directory, 'luns'), join(directory, 'web1.conf')];
  mkdirSync(luns);
  // Its own places here, and its own tgtd.
  const here = (line: string) =>
    line
      .replaceAll('/srv/luns', luns)
      .replace(/^(tgtadm|tgt-admin) /, `$1 -C ${controlPort} `)
      .replace(/^(tgt-admin .*)$/, `$1 --conf ${configuration}`);
  const shell = (lines: readonly string[]) =>
    execFileSync('sh', ['-e', '-c', lines.map(here).join('\n')], {
      env: { ...process.env, TGT_IPC_SOCKET: ipcSocket },
      stdio: 'pipe',
    });
  writeFileSync(configuration, blockBelow(recipe, '## tgt', 'conf').map(here).join('\n'));
  const who = (host: string, epoch: number) => initiatorName('shop', 'web1', host, epoch);
  const login = (initiator: string) => IscsiSession.login([portal], target, initiator, never);
  const mask = new TgtMask({ controlPort, ipcSocket, ledgerFile: join(directory, 'epochs.json') });
  const owned = async (epoch: number) => {
    t.equal(await codeOf(login('iqn.2026-11.test:anybody')), 'US_STORAGE_TARGET_NOT_FOUND');
    await mask.apply({ target, epoch, personality: 'web1', initiator: who('h1', epoch) }, never);
    const session = await login(who('h1', epoch));
    const { blocks, blockSizeBytes } = await session.capacity(1);
    t.equal(Number(blocks) * blockSizeBytes, 1024 ** 3, 'LUN 1 has its size');
    await session.close();
  };
  shell(blockBelow(recipe, '## tgt', 'sh'));
  await owned(1);
  server.tgtadm('--op', 'delete', '--mode', 'target', '--tid', '1', '--force');
  shell(blockBelow(recipe, '### Without a file', 'sh'));
  await owned(2);
});

test('the settings of docs/targets.md are such', async (t) => {
  const file = join(t.testdir(), 'target.yaml');
  writeFileSync(file, blockBelow(recipe, '## LIO', 'yaml').join('\n'));
  t.match(readTargetConfig(file), { cluster: 'shop', targets: 'lio' });
  const unit = blockBelow(recipe, '### What is saved', 'ini');
  t.match(unit[1], /^ExecStartPre=\/usr\/bin\/python3 -c '[^'%$]*'$/, 'as systemd takes it');
  t.match(readFileSync(file, 'utf8'), /targets: lio/);
});
