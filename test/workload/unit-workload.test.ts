import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Test, test } from 'tap';
import { HostWorkloads } from '../../src/workload/host-workloads.js';
import type { WorkloadSpec } from '../../src/workload/types.js';
import { unitDropIn } from '../../src/workload/unit-dropin.js';
import { UnitWorkload } from '../../src/workload/unit-workload.js';

const never = new AbortController().signal;
/** Beyond the highest number that a process can have (PID_MAX_LIMIT). */
const nobody = 4_194_305;
const spec: WorkloadSpec = {
  personality: 'web1',
  epoch: 3,
  // No such namespace here: nothing lives in it.
  namespacePath: `/run/netns/ustest-${process.pid}-none`,
  mounts: [{ source: '/run/understudy/web1/0', target: '/srv/data' }],
  workload: { kind: 'unit', unit: 'nginx@web1.service' },
};

/** A systemctl that notes what it is asked. */
function stage(t: Test, booted = true) {
  const directory = mkdtempSync(join(tmpdir(), `ustest-${process.pid}-unit-`));
  t.teardown(() => rmSync(directory, { recursive: true }));
  const asked: string[] = [];
  let shown = `ActiveState=active\nMainPID=${nobody}\nNRestarts=2\nResult=success\n`;
  const options = {
    runDirectory: join(directory, 'run'),
    unitDirectory: join(directory, 'units'),
    systemctl: {
      booted: () => booted,
      run: async (args: readonly string[]) => {
        asked.push(args.join(' '));
        return args[0] === 'show' ? shown : '';
      },
    },
  };
  return {
    asked,
    options,
    dropIn: join(options.unitDirectory, 'nginx@web1.service.d', '50-understudy.conf'),
    show: (text: string) => {
      shown = text;
    },
  };
}

test('the drop-in, to the byte', async (t) => {
  t.equal(
    unitDropIn({ ...spec, namespacePath: '/run/netns/us-web1' }),
    `# Written by understudy; changes are lost.
# It starts and stops with personality web1.
[Unit]
AssertPathExists=/run/netns/us-web1
AssertPathIsMountPoint=/run/understudy/web1/0
After=run-understudy-web1-0.mount

[Service]
NetworkNamespacePath=/run/netns/us-web1
BindPaths=/run/understudy/web1/0:/srv/data
MountFlags=slave
`,
  );
});

test('paths with special characters are escaped', async (t) => {
  const mounts = [{ source: '/run/a', target: '/srv/100% of: "it"' }];
  const binds = unitDropIn({ ...spec, mounts }).match(/^BindPaths=.*$/m)?.[0];
  t.equal(binds, 'BindPaths=/run/a:"/srv/100%% of\\: \\"it\\""');
});

test('ensure writes the drop-in once and starts the unit', async (t) => {
  const { asked, options, dropIn } = stage(t);
  const workload = new UnitWorkload(options);
  await workload.start(never);
  await workload.ensure(spec, never);
  t.same(asked, ['daemon-reload', 'start nginx@web1.service']);
  t.equal(readFileSync(dropIn, 'utf8'), unitDropIn(spec));
  await workload.ensure(spec, never);
  const again = [
    'show --property=ActiveState,MainPID,NRestarts,Result nginx@web1.service',
    'start nginx@web1.service',
  ];
  t.same(asked.slice(2), again, 'nothing to reload');
});

test('ends of a unit are counted: those that systemd saw to, too, and starts that fail', async (t) => {
  const { options, show } = stage(t);
  const { run } = options.systemctl;
  let refuses = false;
  options.systemctl.run = async (args) => {
    if (args[0] === 'start' && refuses) throw new Error('it does not start');
    return run(args);
  };
  const workload = new UnitWorkload(options);
  const told: string[] = [];
  workload.onFailure((name) => told.push(name));
  const look = async (state: string, restarts: number, result: string) => {
    show(`ActiveState=${state}\nMainPID=0\nNRestarts=${restarts}\nResult=${result}\n`);
    await workload.ensure(spec, never).catch(() => undefined);
    return workload.failures('web1');
  };
  await workload.ensure(spec, never);
  t.equal(await look('active', 0, 'success'), undefined);
  t.match(await look('active', 2, 'success'), { count: 2, last: 'systemd started it anew' });
  t.match(await look('failed', 2, 'exit-code'), { count: 3, last: 'systemd says: exit-code' });
  refuses = true;
  t.match(await look('failed', 0, 'exit-code'), { count: 5, last: 'it does not start' });
  t.match(await look('inactive', 0, 'success'), { count: 6 }, 'a refused start counts once');
  refuses = false;
  t.match(await look('inactive', 0, 'success'), { count: 6 });
  t.match(await look('active', 0, 'success'), { count: 6 });
  await workload.remove('web1', never);
  t.equal(workload.failures('web1'), undefined);
  t.equal(told.length, 5);

  await workload.ensure(spec, never);
  const next = new UnitWorkload(options);
  await next.start(never);
  show('ActiveState=active\nMainPID=0\nNRestarts=7\nResult=success\n');
  await next.ensure(spec, never);
  t.equal(next.failures('web1'), undefined, 'what was before it, an agent does not know');
});

test('a start that fails late was no minute of health', async (t) => {
  const { options, show } = stage(t);
  show('ActiveState=failed\nMainPID=0\nNRestarts=0\nResult=timeout\n');
  let nowMs = 0;
  const { run } = options.systemctl;
  options.systemctl.run = async (args) => {
    if (args[0] !== 'start') return run(args);
    nowMs += 90_000; // DefaultTimeoutStartSec=
    throw new Error('timeout');
  };
  const workload = new UnitWorkload({ ...options, nowMs: () => nowMs });
  for (const count of [1, 2, 3]) {
    await t.rejects(workload.ensure(spec, never), { message: 'timeout' });
    t.match(workload.failures('web1'), { count });
  }
});

test('a unit that was not started yet, or by an earlier agent, did not end', async (t) => {
  const { options, show } = stage(t);
  show('ActiveState=inactive\nMainPID=0\nNRestarts=0\nResult=success\n');
  const { run } = options.systemctl;
  let fails = true;
  options.systemctl.run = async (args) => {
    if (args[0] === 'daemon-reload' && fails) throw new Error('no bus');
    return run(args);
  };
  const workload = new UnitWorkload(options);
  await t.rejects(workload.ensure(spec, never), { message: 'no bus' });
  fails = false;
  await workload.ensure(spec, never);
  t.equal(workload.failures('web1'), undefined);
  const next = new UnitWorkload(options);
  await next.start(never);
  await next.ensure(spec, never);
  t.equal(next.failures('web1'), undefined);
  await next.ensure(spec, never);
  t.match(next.failures('web1'), { count: 1, last: 'it was stopped, or ended by itself' });
});

test('a unit on a disk or network that is no more is started anew', async (t) => {
  const { asked, options, show } = stage(t);
  const workload = new UnitWorkload(options);
  await workload.ensure(spec, never);
  // It is in our own network, not in that of its personality.
  show(`MainPID=${process.pid}\n`);
  asked.length = 0;
  await workload.ensure(spec, never);
  t.same(asked, [
    'show --property=ActiveState,MainPID,NRestarts,Result nginx@web1.service',
    'stop nginx@web1.service',
    'start nginx@web1.service',
  ]);
});

test('a unit that systemd has only just forked is not judged yet', async (t) => {
  const { asked, options, show } = stage(t);
  const workload = new UnitWorkload(options);
  await workload.ensure(spec, never);
  // It is in our network still, and is named as systemd's child is before it executes the program.
  const program = join(options.runDirectory, '(nginx)');
  writeFileSync(program, '#!/bin/sh\necho ready\nread -r _\n', { mode: 0o755 });
  const child = spawn(program, { stdio: ['pipe', 'pipe', 'inherit'] });
  await once(child.stdout, 'data');
  show(`MainPID=${child.pid}\n`);
  asked.length = 0;
  await workload.ensure(spec, never);
  t.notOk(asked.includes('stop nginx@web1.service'));
  child.stdin.end('\n');
  await once(child, 'exit');
});

test('what is prepared is written and read by systemd ahead of the first start', async (t) => {
  const { asked, options, dropIn } = stage(t);
  const workload = new UnitWorkload(options);
  await workload.start(never);
  const other: WorkloadSpec = {
    ...spec,
    personality: 'web2',
    workload: { kind: 'unit', unit: 'nginx@web2.service' },
  };
  const none: WorkloadSpec = { ...spec, personality: 'web3', workload: { kind: 'none' } };
  await workload.prepare([spec, other, none], never);
  t.same(asked, ['daemon-reload'], 'once for all');
  t.equal(readFileSync(dropIn, 'utf8'), unitDropIn(spec));
  await workload.prepare([spec, other, none], never);
  await workload.ensure({ ...spec, epoch: 4 }, never);
  t.same(asked.slice(1), ['start nginx@web1.service'], 'the takeover waits for no reload');
});

test('what can no longer come here is given back to its user', async (t) => {
  const { asked, options, dropIn } = stage(t);
  const first = new UnitWorkload(options);
  await first.prepare([spec], never);
  const theirs = join(options.unitDirectory, 'mine.service.d', '50-understudy.conf');
  mkdirSync(join(theirs, '..'), { recursive: true });
  writeFileSync(theirs, '[Service]\nNice=5\n');
  // The agent was away when the cluster file changed.
  const second = new UnitWorkload(options);
  await second.start(never);
  asked.length = 0;
  await second.prepare([], never);
  t.notOk(existsSync(join(dropIn, '..')), 'no empty folder is left');
  t.ok(existsSync(theirs), 'what is not ours stays');
  t.same(asked, ['daemon-reload']);
  await second.prepare([], never);
  t.same(asked.length, 1, 'nothing to read anew');
});

test('a unit that runs here keeps its drop-in', async (t) => {
  const { options, dropIn } = stage(t);
  const workload = new UnitWorkload(options);
  await workload.ensure(spec, never);
  await workload.prepare([], never);
  t.ok(existsSync(dropIn));
  await workload.remove('web1', never);
  await workload.prepare([], never);
  t.notOk(existsSync(dropIn), 'until it has left');
});

test('an earlier agent may have died before systemd read its drop-in', async (t) => {
  const { asked, options } = stage(t);
  await new UnitWorkload(options).prepare([spec], never);
  asked.length = 0;
  const next = new UnitWorkload(options);
  await next.start(never);
  await next.ensure(spec, never);
  t.same(asked, ['daemon-reload', 'start nginx@web1.service']);
});

test('a reload that failed is tried again before the unit starts', async (t) => {
  const { asked, options } = stage(t);
  let fails = true;
  const { run } = options.systemctl;
  options.systemctl.run = async (args) => {
    if (args[0] === 'daemon-reload' && fails) throw new Error('no bus');
    return run(args);
  };
  const workload = new UnitWorkload(options);
  await t.rejects(workload.prepare([spec], never), { message: 'no bus' });
  await t.rejects(workload.ensure(spec, never), { message: 'no bus' });
  t.same(asked, [], 'it would have started outside of its personality');
  fails = false;
  await workload.ensure(spec, never);
  t.same(asked, [
    'daemon-reload',
    'show --property=ActiveState,MainPID,NRestarts,Result nginx@web1.service',
    'start nginx@web1.service',
  ]);
});

test('somebody else’s drop-in of one unit leaves the others ready', async (t) => {
  const { options, dropIn } = stage(t);
  const other: WorkloadSpec = {
    ...spec,
    personality: 'web0',
    workload: { kind: 'unit', unit: 'a.service' },
  };
  mkdirSync(join(options.unitDirectory, 'a.service.d'), { recursive: true });
  writeFileSync(join(options.unitDirectory, 'a.service.d', '50-understudy.conf'), '[Unit]\n');
  const workload = new UnitWorkload(options);
  await t.rejects(workload.prepare([other, spec], never), { code: 'US_WORKLOAD_FOREIGN_DROPIN' });
  t.ok(existsSync(dropIn));
});

test('the next agent knows the unit; another epoch stops it first', async (t) => {
  const { asked, options, show } = stage(t);
  const first = new UnitWorkload(options);
  await first.ensure(spec, never);
  await first.stop();
  const second = new UnitWorkload(options);
  await second.start(never);
  const common = { personality: 'web1', epoch: 3, kind: 'unit' };
  t.same(await second.observe(never), [
    { ...common, state: 'running', pid: nobody, restarts: 2, lastEnd: '' },
  ]);
  show('ActiveState=failed\nMainPID=0\nNRestarts=5\nResult=exit-code\n');
  t.same(await second.observe(never), [
    { ...common, state: 'failed', pid: undefined, restarts: 5, lastEnd: 'exit-code' },
  ]);
  asked.length = 0;
  await second.ensure({ ...spec, epoch: 4 }, never);
  t.same(asked, ['stop nginx@web1.service', 'daemon-reload', 'start nginx@web1.service']);
});

test('remove stops, abort kills first; the drop-in stays', async (t) => {
  const { asked, options, dropIn } = stage(t);
  const workload = new UnitWorkload(options);
  await workload.ensure(spec, never);
  await workload.remove('web1', never);
  await workload.ensure(spec, never);
  asked.length = 0;
  await workload.abort('web1', never);
  t.same(asked, [
    'kill --signal=SIGKILL nginx@web1.service',
    'stop nginx@web1.service',
    'reset-failed nginx@web1.service',
  ]);
  t.ok(existsSync(dropIn));
  t.same(await workload.observe(never), []);
});

test('a unit that does not start is not held back by systemd at the next try', async (t) => {
  const { asked, options } = stage(t);
  const refused = new Error('start request repeated too quickly');
  const control = {
    ...options.systemctl,
    run: async (args: readonly string[]) => {
      if (args[0] === 'start') throw refused;
      return options.systemctl.run(args);
    },
  };
  const workload = new UnitWorkload({ ...options, systemctl: control });
  await t.rejects(workload.ensure(spec, never), refused);
  t.same(asked, ['daemon-reload', 'reset-failed nginx@web1.service']);
});

test('refusals: no systemd, a file of somebody else, a name that is none', async (t) => {
  const without = stage(t, false);
  await t.rejects(new UnitWorkload(without.options).ensure(spec, never), {
    code: 'US_WORKLOAD_NO_SYSTEMD',
  });
  const { options, dropIn } = stage(t);
  mkdirSync(join(dropIn, '..'), { recursive: true });
  writeFileSync(dropIn, '[Service]\nNice=5\n');
  await t.rejects(new UnitWorkload(options).ensure(spec, never), {
    code: 'US_WORKLOAD_FOREIGN_DROPIN',
  });
  t.equal(readFileSync(dropIn, 'utf8'), '[Service]\nNice=5\n');
  for (const unit of ['../../etc/x.service', '--all', 'web1.timer']) {
    const odd: WorkloadSpec = { ...spec, workload: { kind: 'unit', unit } };
    await t.rejects(new UnitWorkload(options).ensure(odd, never), { code: 'US_WORKLOAD_SPEC' });
  }
});

test('a personality changes from a unit to none and back', async (t) => {
  const { asked, options } = stage(t);
  const workloads = new HostWorkloads(options);
  await workloads.start(never);
  await workloads.ensure(spec, never);
  await workloads.ensure({ ...spec, workload: { kind: 'none' } }, never);
  t.ok(asked.includes('stop nginx@web1.service'));
  t.same(await workloads.observe(never), []);
  await workloads.ensure(spec, never);
  t.equal((await workloads.observe(never)).length, 1);
  t.ok(existsSync(join(options.runDirectory, 'workload', 'web1.json')));
  await workloads.abort('web1', never);
  t.notOk(existsSync(join(options.runDirectory, 'workload', 'web1.json')));
});
