import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Test, test } from 'tap';
import { check, libc } from '../../src/ffi/libc.js';
import { notifyService } from '../../src/ffi/notify.js';

const socket = libc.func('int socket(int domain, int type, int protocol)');
const bind = libc.func('int bind(int fd, const void *address, uint32_t size)');
const recv = libc.func('intptr_t recv(int fd, void *data, size_t length, int flags)');
const close = libc.func('int close(int fd)');
const MSG_DONTWAIT = 0x40;

/** What systemd would hear on a datagram socket at `name` (a leading NUL: abstract). */
function listen(name: string): { heard(): string; close(): void } {
  const fd = check('socket', socket(1, 2, 0) as number);
  const address = Buffer.concat([Buffer.from([1, 0]), Buffer.from(name)]);
  check('bind', bind(fd, address, address.length) as number);
  return {
    heard() {
      const data = Buffer.alloc(200);
      return data.toString('utf8', 0, check('recv', recv(fd, data, 200, MSG_DONTWAIT) as number));
    },
    close: () => close(fd),
  };
}

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
