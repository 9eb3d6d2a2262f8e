import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Test, test } from 'tap';
import { notifyService } from '../../src/ffi/notify.js';
import { listen } from '../notify-socket.js';

/** sun_path holds 108 bytes (unix(7)), which tap's own folders exceed. */
function shortFolder(t: Test): string {
  const folder = mkdtempSync(join(tmpdir(), `ustest-${process.pid}-`));
  t.teardown(() => rmSync(folder, { recursive: true }));
  return folder;
}

test('systemd is told on a path or an abstract name', async (t) => {
  const path = join(shortFolder(t), 'notify');
  for (const [bound, named] of [
    [`${path}\0`, path],
    [`\0ustest-${process.pid}-notify`, `@ustest-${process.pid}-notify`],
  ] as const) {
    const systemd = listen(bound);
    t.equal(notifyService('READY=1', named), true);
    t.equal(systemd.heard(), 'READY=1');
    systemd.close();
  }
});

test('nobody asked, or nobody listens', async (t) => {
  t.equal(notifyService('READY=1', ''), false);
  const path = join(shortFolder(t), 'nothing');
  t.throws(() => notifyService('READY=1', path), /ENOENT/);
});
