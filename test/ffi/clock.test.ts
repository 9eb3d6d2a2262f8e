import { readFileSync } from 'node:fs';
import { test } from 'tap';
import { bootId, bootMs, bootNs } from '../../src/ffi/clock.js';

test('the boot clock goes on, in step with the kernel', async (t) => {
  const first = bootNs();
  // Seconds since boot, suspend included, in hundredths (proc(5)).
  const uptimeMs = Number(readFileSync('/proc/uptime', 'utf8').split(' ')[0]) * 1_000;
  const second = bootNs();
  t.ok(second > first);
  t.ok(uptimeMs >= Number(first) / 1e6 - 10 && uptimeMs <= Number(second) / 1e6);
  t.ok(bootMs() >= Number(second) / 1e6);
  t.match(bootId(), /^[0-9a-f-]{36}$/);
});
