import { execFileSync } from 'node:child_process';
import { test } from 'tap';
import { mountUnit } from '../src/scope.js';

test('a mount’s unit has the name that systemd gives it', async (t) => {
  for (const path of ['/run/understudy/web1/0', '/run/understudy/web-1/10', '/a b/.c/ü\\x_d:e']) {
    const argv = ['--path', '--suffix=mount', path];
    t.equal(mountUnit(path), execFileSync('systemd-escape', argv, { encoding: 'utf8' }).trim());
  }
});
