import tap, { test } from 'tap';
import { guestMissing, runInGuest } from '../uml/guest.js';
import { passes, volumeModules } from '../uml/passes.js';

const missing = guestMissing();
const options = missing === undefined ? {} : { skip: missing };
tap.setTimeout(1_800_000);
const workingDirectory = new URL('../../..', import.meta.url).pathname;
const network = ['macvlan', 'veth', 'bridge', 'vxlan', 'sch_ingress', 'cls_bpf'];

for (const fence of ['mask', 'reservation']) {
  test(`a lab on LIO: a host dies, its volume is fenced by ${fence}`, options, async (t) => {
    let seen = 0;
    const { code, output } = await runInGuest({
      command: [process.execPath, new URL('../uml/lio-lab.js', import.meta.url).pathname, fence],
      workingDirectory,
      modules: [...volumeModules, ...network],
      memoryMiB: 2_048,
      timeoutMs: 600_000,
      onLine: (line) => {
        const [, not, what] = /^(NOT )?(?:seen|SEEN): (.*)$/.exec(line) ?? [];
        if (what === undefined) return;
        t.equal(not, undefined, what);
        seen += 1;
      },
    });
    t.ok(seen > 3, 'something was looked at');
    t.equal(code, 0, 'the guest’s own exit code');
    if (code !== 0) t.comment(output);
  });
}

test('the commands of docs/targets.md for LIO', options, (t) =>
  passes(t, new URL('../uml/lio-recipe.js', import.meta.url), volumeModules),
);
