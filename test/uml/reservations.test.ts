import tap, { type Test, test } from 'tap';
import { guestMissing, runInGuest } from './guest.js';

const missing = guestMissing();
const options = missing === undefined ? {} : { skip: missing };
tap.setTimeout(480_000);

const workingDirectory = new URL('../../..', import.meta.url).pathname;
const target = ['configfs', 'target_core_mod', 'target_core_file', 'iscsi_target_mod'];

/** What runs there, each of its lines an assertion here. */
async function passes(t: Test, path: string, modules: readonly string[]): Promise<void> {
  let passed = 0;
  const { code, output } = await runInGuest({
    command: [process.execPath, new URL(path, import.meta.url).pathname],
    ...{ workingDirectory, modules, timeoutMs: 150_000 },
    onLine: (line) => {
      const [, not, name] = /^\s*(not )?ok \d+ - (.*?)(?: # .*)?$/.exec(line) ?? [];
      if (name === undefined) return;
      t.equal(not, undefined, name);
      passed += 1;
    },
  });
  t.ok(passed > 0, 'something was tested');
  t.equal(code, 0, 'the guest’s own exit code');
  if (code !== 0) t.comment(output);
}

test('reservations on LIO, in a guest whose kernel has it', options, (t) =>
  passes(t, './lio-reservations.js', target),
);

test('a volume that its reservation fences moves from host to host', options, (t) =>
  passes(t, './lio-takeover.js', [...target, 'fuse', 'loop', 'ext4']),
);

test('LIO is restarted, and has forgotten or not', options, (t) =>
  passes(t, './lio-restart.js', [...target, 'fuse', 'loop', 'ext4']),
);

test('LUNs of LIO that cannot be used, each by its code', options, (t) =>
  passes(t, './lio-bad-luns.js', [...target, 'fuse', 'loop', 'ext4']),
);
