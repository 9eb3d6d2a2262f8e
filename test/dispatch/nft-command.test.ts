import { chmodSync, writeFileSync } from 'node:fs';
import { test } from 'tap';
import { runNft } from '../../src/dispatch/nft-command.js';

test('an answer that is too long is said to be that, and not taken in part', async (t) => {
  const folder = t.testdir();
  const { PATH = '' } = process.env;
  // In the place of nft: says as many bytes as it is asked for.
  writeFileSync(`${folder}/nft`, '#!/bin/sh\nhead -c "$1" /dev/zero\n');
  chmodSync(`${folder}/nft`, 0o755);
  process.env.PATH = `${folder}:${PATH}`;
  t.teardown(() => {
    process.env.PATH = PATH;
  });
  const say = (bytes: number) => runNft('web', '/proc/self/ns/net', [String(bytes)]);
  const most = 4 * 1024 * 1024;
  t.equal((await say(most)).length, most);
  await t.rejects(say(most + 1), {
    code: 'US_DISPATCH_NFT',
    message: /its answer is longer than 4 MiB/,
  });
});
