import tap, { test } from 'tap';
import { guestMissing, runInGuest } from '../uml/guest.js';

/** The oldest kernel at hand: its verifier knows less, and nothing is compiled to machine code. */
const missing = guestMissing();
const options = missing === undefined ? {} : { skip: missing };
tap.setTimeout(300_000);
const timeoutMs = 250_000;

for (const name of ['program', 'any-frames', 'tracking']) {
  test(`Linux 6.1 takes the packet program: ${name}`, options, async (t) => {
    const path = new URL(`../dispatch/${name}.test.js`, import.meta.url).pathname;
    let passed = 0;
    const { code, output } = await runInGuest({
      command: [process.execPath, path],
      workingDirectory: new URL('../../..', import.meta.url).pathname,
      modules: [],
      timeoutMs,
      onLine: (line) => {
        if (/^ok /.test(line)) passed += 1;
      },
    });
    t.ok(passed > 0, 'something was tested');
    t.equal(code, 0, 'the guest’s own exit code');
    if (code !== 0) t.comment(output);
  });
}
