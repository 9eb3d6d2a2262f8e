import { execFile } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import tap, { test } from 'tap';
import { buildPackage } from '../units/package.js';

tap.setTimeout(300_000);
const missing = !existsSync('/usr/bin/lintian') && 'lintian is not installed (apt-get install it)';

test('lintian finds no fault with the package', { skip: missing }, async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'understudy-lintian-'));
  t.teardown(() => rmSync(folder, { recursive: true }));
  const options = ['--allow-root', '--tag-display-limit', '0', '--fail-on', 'error,warning'];
  const { stdout } = await promisify(execFile)('lintian', [...options, await buildPackage(folder)]);
  t.equal(stdout, '');
});
