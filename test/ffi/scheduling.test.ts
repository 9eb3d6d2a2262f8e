import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { test } from 'tap';

/** In a process of its own: this one is to stay as it is. */
const child = `
  import { readdirSync, readFileSync } from 'node:fs';
  import { lockProgramInMemory, scheduleRealTime } from ${JSON.stringify(new URL('../../src/ffi/scheduling.js', import.meta.url))};
  scheduleRealTime();
  const lockedBytes = lockProgramInMemory();
  // A collector that gives pages back: V8 aborts if they are locked.
  for (let round = 0; round < 40; round++) Array.from({ length: 100_000 }, (_, x) => ({ x }));
  const policies = readdirSync('/proc/self/task').map((id) =>
    Number(readFileSync('/proc/self/task/' + id + '/stat', 'utf8').split(') ')[1].split(' ')[38]));
  const status = readFileSync('/proc/self/status', 'utf8');
  const lockedKiB = Number(/VmLck:\\s*(\\d+)/.exec(status)[1]);
  console.log(JSON.stringify({ lockedBytes, lockedKiB, policies }));
`;

function allowed(): string | false {
  const bits = BigInt(
    `0x${/CapEff:\s*(\w+)/.exec(readFileSync('/proc/self/status', 'utf8'))?.[1]}`,
  );
  const has = (capability: bigint) => ((bits >> capability) & 1n) === 1n;
  return has(23n) && has(14n) ? false : 'needs CAP_SYS_NICE and CAP_IPC_LOCK';
}

test('real-time scheduling and locked memory', { skip: allowed() }, async (t) => {
  const run = spawnSync(process.execPath, ['--input-type=module', '-e', child], {
    encoding: 'utf8',
    timeout: 60_000,
  });
  t.equal(run.status, 0, run.stderr);
  const { lockedBytes, lockedKiB, policies } = JSON.parse(run.stdout);
  t.ok(lockedBytes > 20_000_000, `${lockedBytes} bytes of program`);
  t.ok(lockedKiB * 1_024 >= lockedBytes * 0.9);
  t.ok(policies.length > 1);
  t.same(
    policies.filter((policy: number) => policy !== 2),
    [],
    'every thread is SCHED_RR (2)',
  );
});

const urgent = `
  import { readFileSync } from 'node:fs';
  import { favour, goFirst } from ${JSON.stringify(new URL('../../src/ffi/scheduling.js', import.meta.url))};
  const nice = () => Number(readFileSync('/proc/thread-self/stat', 'utf8').split(') ')[1].split(' ')[16]);
  favour(process.pid);
  const seen = [nice()];
  goFirst(true);
  seen.push(nice());
  goFirst(false);
  seen.push(nice());
  console.log(JSON.stringify(seen));
`;

test('what is urgent goes before what is favoured, and no longer', {
  skip: allowed(),
}, async (t) => {
  // In a session of its own: where there are autogroups it is the session that goes first.
  const run = spawnSync(
    'setsid',
    ['--wait', process.execPath, '--input-type=module', '-e', urgent],
    {
      encoding: 'utf8',
      timeout: 60_000,
    },
  );
  t.equal(run.status, 0, run.stderr);
  t.same(JSON.parse(run.stdout), [-10, -20, -10]);
});
