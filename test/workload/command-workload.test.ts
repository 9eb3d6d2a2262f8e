import { execFileSync, spawn } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { test } from 'tap';
import { enterPersonalityCommand } from '../../src/workload/command-workload.js';
import { inhabitants, runningProcess } from '../../src/workload/process-table.js';
import type { WorkloadSpec } from '../../src/workload/types.js';
import { never, only, pidOf, shell, stage, until } from './command-stage.js';

const enter = (runDirectory: string, ...command: string[]) => {
  const [program = '', ...words] = [...enterPersonalityCommand('web1', runDirectory), ...command];
  return execFileSync(program, words, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] });
};

test('a command sees its network, its volumes at their paths, and no other volume', async (t) => {
  const { spec, open, runDirectory, source, target, log, name } = stage(t);
  const workload = await open();
  const other = join(runDirectory, 'db1', '0');
  mkdirSync(other, { recursive: true });
  execFileSync('mount', ['-t', 'tmpfs', name, other]);
  t.teardown(() => execFileSync('umount', [other]));
  await workload.ensure(
    spec(shell(`cat ${target}/hello; echo; ls /sys/class/net >&2; env; exec sleep 1000`)),
    never,
  );
  await until(() => log().includes('UNDERSTUDY_EPOCH=1'));
  t.match(log(), 'from the volume');
  t.notMatch(log(), 'UNDERSTUDY_SECRET');
  const pid = await pidOf(workload);
  const mounts = readFileSync(`/proc/${pid}/mountinfo`, 'utf8');
  t.ok(mounts.includes(` ${target} `), 'the volume is at its path');
  t.notOk(mounts.includes(` ${source} `), 'and at no other');
  t.notOk(mounts.includes(other), 'a neighbour volume is not held');
  t.notOk(mounts.includes('/run/netns/'), 'nor is a network namespace');
  t.notOk(existsSync(join(target, 'hello')), 'the host does not see it there');
  t.match(enter(runDirectory, 'cat', join(target, 'hello')), 'from the volume');
  t.match(enter(runDirectory, 'ip', '-o', 'link'), /^1: lo/);
  t.equal(enter(runDirectory, 'ip', '-o', 'link').trim().split('\n').length, 1);
  t.equal(runningProcess(pid)?.session, pid, 'it leads a session of its own');
});

test('the same wish changes nothing; another epoch starts it anew', async (t) => {
  const { spec, open } = stage(t);
  const workload = await open();
  const command = shell('exec sleep 1000');
  await workload.ensure(spec(command), never);
  const first = await pidOf(workload);
  await workload.ensure(spec(command), never);
  t.equal(await pidOf(workload), first);
  await workload.ensure(spec(command, { epoch: 2 }), never);
  t.not(await pidOf(workload), first);
  t.equal(runningProcess(first), undefined);
  t.match(await only(workload), { epoch: 2, state: 'running' });
});

test('a dead workload is started again, and told of', async (t) => {
  const { spec, open, runDirectory } = stage(t);
  const workload = await open();
  const mark = join(runDirectory, 'mark');
  await workload.ensure(
    spec(shell(`[ -e ${mark} ] && exec sleep 1000; touch ${mark}; kill -SEGV $$`)),
    never,
  );
  await until(async () => (await only(workload)).restarts === 1);
  await until(async () => (await only(workload)).state === 'running');
  t.match(await only(workload), { restarts: 1, lastEnd: 'signal SIGSEGV', state: 'running' });
});

test('what a dead leader left behind is gone before the next start', async (t) => {
  const { spec, open, runDirectory } = stage(t);
  const workload = await open();
  const left = join(runDirectory, 'left');
  await workload.ensure(
    spec(
      shell(`[ -e ${left} ] && exec sleep 1000; sleep 999 & echo $! > ${left}.new
             mv ${left}.new ${left}; exit 3`),
    ),
    never,
  );
  await until(async () => (await only(workload)).restarts === 1);
  await until(async () => (await only(workload)).state === 'running');
  t.match(await only(workload), { lastEnd: 'exit code 3' });
  t.equal(runningProcess(Number(readFileSync(left, 'utf8'))), undefined);
});

test('an agent restart leaves it running; the next agent adopts it', async (t) => {
  const { spec, open } = stage(t);
  const first = await open();
  const command = shell('exec sleep 1000');
  await first.ensure(spec(command), never);
  const pid = await pidOf(first);
  await first.stop();
  t.ok(runningProcess(pid), 'it outlives the agent');
  const second = await open();
  t.match(await only(second), { pid, epoch: 1, state: 'running' });
  await second.ensure(spec(command), never);
  t.equal(await pidOf(second), pid, 'what is wished for is left alone');
  process.kill(pid, 'SIGKILL');
  await until(async () => (await only(second)).restarts === 1);
  await until(async () => (await only(second)).state === 'running');
  t.not(await pidOf(second), pid, 'an adopted one is started again too');
});

test('what died while no agent ran is not started before it is asked for', async (t) => {
  const { spec, open } = stage(t);
  const first = await open();
  const command = shell('exec sleep 1000');
  await first.ensure(spec(command), never);
  const pid = await pidOf(first);
  await first.stop();
  process.kill(pid, 'SIGKILL');
  await until(() => runningProcess(pid) === undefined);
  const second = await open({ firstBackOffMs: 1 });
  // That nothing is started has no event: a hundred times the pause after which it would be.
  await sleep(100);
  t.match(await only(second), { pid: undefined, state: 'backing-off', restarts: 0 });
  await second.ensure(spec(command), never);
  t.match(await only(second), { state: 'running' });
});

test('a later process with the recorded number is not touched', async (t) => {
  const { spec, open, runDirectory } = stage(t);
  const innocent = spawn('sleep', ['1000'], { stdio: 'ignore' });
  t.teardown(() => innocent.kill('SIGKILL'));
  const { pid = 0 } = innocent;
  mkdirSync(join(runDirectory, 'workload'), { recursive: true });
  writeFileSync(
    join(runDirectory, 'workload', 'web1.json'),
    JSON.stringify({ spec: spec(shell('true')), process: { pid, startTicks: '1' } }),
  );
  const workload = await open();
  t.match(await only(workload), { pid: undefined, state: 'backing-off' });
  await workload.abort('web1', never);
  t.ok(runningProcess(pid));
});

test('remove asks first, waits, then kills; also what left the session', async (t) => {
  const { spec, open, runDirectory, source, log } = stage(t);
  const workload = await open({ graceMs: 300 });
  const escaped = join(runDirectory, 'escaped');
  await workload.ensure(
    spec(
      shell(`trap 'echo asked' TERM; setsid sh -c 'trap "" TERM; echo $$ > ${escaped}; sleep 998' &
             while :; do sleep 0.05; done`),
    ),
    never,
  );
  await until(() => existsSync(escaped) && readFileSync(escaped, 'utf8').endsWith('\n'));
  const pids = [await pidOf(workload), Number(readFileSync(escaped, 'utf8'))];
  const started = performance.now();
  await workload.remove('web1', never);
  t.ok(performance.now() - started >= 300, 'the grace was given');
  t.match(log(), 'asked');
  for (const pid of pids) t.equal(runningProcess(pid), undefined);
  t.same(await workload.observe(never), []);
  execFileSync('umount', [source]);
  execFileSync('mount', ['-t', 'tmpfs', 'again', source]);
});

test('abort kills at once, also in the middle of a start', async (t) => {
  const { spec, open } = stage(t);
  const workload = await open({ graceMs: 60_000 });
  await workload.ensure(spec(shell(`trap '' TERM; while :; do sleep 1; done`)), never);
  const pid = await pidOf(workload);
  await workload.abort('web1', never);
  t.equal(runningProcess(pid), undefined);
  const starting = workload.ensure(spec(shell('exec sleep 1000'), { epoch: 2 }), never);
  await workload.abort('web1', never);
  await starting.catch(() => {});
  t.same(await workload.observe(never), []);
});

test('what cannot be started says why', async (t) => {
  const { spec, open, source, target } = stage(t);
  const workload = await open();
  const refusal = async (wanted: WorkloadSpec, code: string, reason: RegExp) => {
    const thrown = await workload.ensure(wanted, never).catch((error: unknown) => error);
    t.match(thrown, { code, reason });
  };
  await refusal(
    spec({ kind: 'command', command: ['no-such-program'] }),
    'US_WORKLOAD_SETUP',
    /no-such-program: command not found/,
  );
  await refusal(
    spec(shell('true'), { namespacePath: '/run/netns/ustest-none' }),
    'US_WORKLOAD_SETUP',
    /ustest-none/,
  );
  const gone = `${source}/gone`;
  await refusal(
    spec(shell('true'), { mounts: [{ source: gone, target }] }),
    'US_WORKLOAD_SETUP',
    /no volume is mounted there/,
  );
  await refusal(spec({ kind: 'command', command: [] }), 'US_WORKLOAD_SPEC', /command is empty/);
});

test('a look at a workload that is being started anew starts no second one', async (t) => {
  const { spec, open } = stage(t);
  let looks: Promise<void>[] = [];
  const wanted = spec(shell('exec sleep 1000'));
  const workload: Awaited<ReturnType<typeof open>> = await open({
    log: {
      info: () => {},
      // The pause is over at once: some of them come in the middle of the new start.
      warn: () => {
        looks = [5, 10, 20, 40].map((ms) => sleep(ms).then(() => workload.ensure(wanted, never)));
      },
    },
    firstBackOffMs: 1,
  });
  await workload.ensure(wanted, never);
  process.kill(await pidOf(workload));
  await until(() => looks.length > 0);
  await Promise.all(looks);
  await until(async () => (await only(workload)).state === 'running');
  const all = inhabitants(wanted.namespacePath).map(({ pid }) => pid);
  t.same(all, [await pidOf(workload)]);
});

test('a start that fails counts as a failure, the first one too', async (t) => {
  const { spec, open } = stage(t);
  const workload = await open();
  const missing = spec({ kind: 'command', command: ['no-such-program'] });
  for (const count of [1, 2, 3]) {
    await t.rejects(workload.ensure(missing, never), { code: 'US_WORKLOAD_SETUP' });
    t.match(workload.failures('web1'), { count, last: /no-such-program: command not found/ });
  }
  const calledOff = AbortSignal.abort(new Error('the assignment changed'));
  await t.rejects(workload.ensure(missing, calledOff), { message: 'the assignment changed' });
  t.match(workload.failures('web1'), { count: 3 });
});

test('a volume without a file system is a device at its path', async (t) => {
  const { spec, open, runDirectory, source, target } = stage(t);
  // Major 7 is loop(4); it is only looked at.
  const device = `${source}/device`;
  execFileSync('mknod', [device, 'b', '7', '1999']);
  const place = `${target}-disks/disk`;
  const workload = await open();
  await workload.ensure(
    spec({ kind: 'none' }, { mounts: [{ source: device, target: place }] }),
    never,
  );
  t.match(enter(runDirectory, 'stat', '-c', '%F %t:%T', place), /block special file 7:7cf/);
  t.equal(readFileSync(place, 'utf8'), '', 'outside there is the file that it is placed on');
});

test('a personality without a workload can be entered, and what entered is ended', async (t) => {
  const { spec, open, runDirectory, target } = stage(t);
  const workload = await open();
  await workload.ensure(spec({ kind: 'none' }), never);
  t.match(enter(runDirectory, 'cat', join(target, 'hello')), 'from the volume');
  const [program = '', ...words] = enterPersonalityCommand('web1', runDirectory);
  const inside = spawn(program, [...words, 'sleep', '1000'], { stdio: 'ignore' });
  const ended = new Promise((resolve) => inside.once('exit', resolve));
  const { pid = 0 } = inside;
  await until(() => readFileSync(`/proc/${pid}/cmdline`, 'utf8').startsWith('sleep'));
  await workload.remove('web1', never);
  await ended;
  t.throws(() => enter(runDirectory, 'true'), /US_WORKLOAD_NOT_HERE/);
});
