import { execFileSync } from 'node:child_process';
import { closeSync, openSync, readdirSync } from 'node:fs';
import { test } from 'tap';
import { DataPlane } from '../../src/dispatch/data-plane.js';
import { BpfGuard } from '../../src/fencing/guard.js';
import { ownBpffs, quiet } from '../bpf-place.js';

/** Descriptors that a process may have here: more than are open, and soon used up. */
const most = readdirSync('/proc/self/fd').length + 64;

function useUp(): number[] {
  const open: number[] = [];
  try {
    for (;;) open.push(openSync('/dev/null', 'r'));
  } catch {
    return open;
  }
}

test('a process short of descriptors is not told that the kernel refuses the program', (t) => {
  const place = ownBpffs(t);
  const guard = new BpfGuard({ ...place, log: quiet });
  t.teardown(() => guard.close());
  guard.prepare(1);
  execFileSync('prlimit', ['--pid', String(process.pid), `--nofile=${most}:`]);
  const open = useUp();
  // For the lease, the object and a map or two, not for all.
  for (const fd of open.splice(0, 4)) closeSync(fd);
  t.throws(() => new DataPlane(place, 1), { code: 'US_BPF_NOT_NOW', message: /EMFILE/ });
  for (const fd of open) closeSync(fd);
  new DataPlane(place, 1).close();

  const again = useUp();
  for (const fd of again.splice(0, 4)) closeSync(fd);
  const before = readdirSync('/proc/self/fd').length;
  t.throws(() => new DataPlane(place, 1), { code: 'US_BPF_NOT_NOW', message: /EMFILE/ });
  t.equal(
    readdirSync('/proc/self/fd').length,
    before,
    'with maps that are pinned already; none is kept',
  );
  for (const fd of again) closeSync(fd);
  new DataPlane(place, 1).close();
  t.end();
});
