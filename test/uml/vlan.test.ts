import tap, { test } from 'tap';
import { guestMissing, runInGuest } from './guest.js';

/** What needs 802.1Q runs in a guest whose kernel has it. */
const missing = guestMissing();
// A guest has one processor: two of them take no longer than one.
const options = { buffered: true, ...(missing === undefined ? {} : { skip: missing }) };
tap.jobs = 2;
tap.setTimeout(240_000);
const workingDirectory = new URL('../../..', import.meta.url).pathname;
const modules = ['8021q', 'macvlan', 'veth', 'bridge', 'vxlan', 'fuse'];
const timeoutMs = 200_000;

function compiled(path: string): readonly string[] {
  return [process.execPath, new URL(path, import.meta.url).pathname];
}

test('the tests of fabric vlan, each an assertion here', options, async (t) => {
  let passed = 0;
  const { code, output } = await runInGuest({
    command: compiled('../network/vlan.test.js'),
    workingDirectory,
    modules,
    timeoutMs,
    onLine: (line) => {
      const [, not, name, skip] = /^(not )?ok \d+ - (.*?)(?: # (SKIP.*)?.*)?$/.exec(line) ?? [];
      if (name === undefined) return;
      if (skip !== undefined) t.fail(`${name} is not to be skipped here: ${skip}`);
      else t.equal(not, undefined, name);
      passed += 1;
    },
  });
  t.ok(passed > 0, 'something was tested');
  t.equal(code, 0, 'the guest’s own exit code');
  if (code !== 0) t.comment(output);
});

test('a lab on a kernel with 802.1Q builds VLANs', options, async (t) => {
  const { code, output } = await runInGuest({
    command: compiled('./vlan-lab.js'),
    workingDirectory,
    modules,
    timeoutMs,
    onLine: (line) => {
      const [, not, what] = /^(NOT )?(?:seen|SEEN): (.*)$/.exec(line) ?? [];
      if (what !== undefined) t.equal(not, undefined, what);
    },
  });
  t.equal(code, 0, 'the guest’s own exit code');
  if (code !== 0) t.comment(output);
});
