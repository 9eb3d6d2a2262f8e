import tap, { test } from 'tap';
import { guestMissing, runInGuest } from './guest.js';

const missing = guestMissing();
const options = missing === undefined ? {} : { skip: missing };
tap.setTimeout(240_000);

test('reservations on LIO, in a guest whose kernel has it', options, async (t) => {
  let passed = 0;
  const { code, output } = await runInGuest({
    command: [process.execPath, new URL('./lio-reservations.js', import.meta.url).pathname],
    workingDirectory: new URL('../../..', import.meta.url).pathname,
    modules: ['configfs', 'target_core_mod', 'target_core_file', 'iscsi_target_mod'],
    timeoutMs: 120_000,
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
});
