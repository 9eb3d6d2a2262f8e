import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'tap';
import { understudy } from './run.js';

test('a token is made, listed and removed', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), `ustest-${process.pid}-token-`));
  t.teardown(() => rmSync(folder, { recursive: true }));
  const at = ['--file', join(folder, 'tokens.json')];
  const made = await understudy(['token', 'add', 'prom', '--role', 'read', ...at]);
  t.match(made.stdout, /^us1\.[0-9a-f]{12}\.[\w-]{43}\n$/, 'nothing but the token');
  t.match(made.stderr, /shown this once/);
  const again = await understudy(['token', 'add', 'prom', '--role', 'admin', ...at]);
  t.match([again.code, again.stderr], [1, /US_TOKEN_EXISTS/]);
  const listed = await understudy(['token', 'list', '--json', ...at]);
  t.match(JSON.parse(listed.stdout), [{ name: 'prom', role: 'read', expired: false }]);
  t.notMatch(listed.stdout, /hash|salt/);
  t.equal((await understudy(['token', 'remove', 'prom', ...at])).code, 0);
  const gone = await understudy(['token', 'remove', 'prom', ...at]);
  t.match([gone.code, gone.stderr], [1, /US_TOKEN_UNKNOWN/]);
});
