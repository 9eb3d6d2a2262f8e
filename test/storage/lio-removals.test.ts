import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'tap';
import { LioRemovals } from '../../src/storage/lio-removals.js';

test('a removal takes away what the ACL has, whatever its environment names', async (t) => {
  const folder = t.testdir({ file: 'kept', folder: {} });
  const acl = join(folder, 'acl');
  mkdirSync(acl);
  writeFileSync(join(acl, 'cmdsn_depth'), '1\n');
  process.env.links = join(folder, 'file');
  process.env.folders = join(folder, 'folder');
  t.teardown(() => {
    delete process.env.links;
    delete process.env.folders;
  });
  // It is no configfs: what the kernel takes away by itself is left over.
  t.match(await new LioRemovals().begin(acl), /not empty/);
  t.ok(existsSync(join(folder, 'file')));
  t.ok(existsSync(join(folder, 'folder')));
});
