import { execFileSync } from 'node:child_process';
import { mkdirSync, readlinkSync, symlinkSync, writeFileSync } from 'node:fs';
import { test } from 'tap';
import { never, pidOf, shell, stage, until } from './command-stage.js';

test('a symbolic link on the way to a volume is no reason to start anew', async (t) => {
  const { spec, open, target } = stage(t);
  mkdirSync(`${target}-real`);
  symlinkSync(`${target}-real`, target);
  const workload = await open();
  const wanted = spec(shell('exec sleep 1000'));
  await workload.ensure(wanted, never);
  const pid = await pidOf(workload);
  await workload.ensure(wanted, never);
  t.equal(await pidOf(workload), pid);
});

test('nor is a root directory of its own', async (t) => {
  const { spec, open, source, target } = stage(t);
  for (const jail of [`${target}/jail`, `${target}-jail`]) {
    const at = jail === `${target}/jail` ? target : `${jail}/data`;
    const workload = await open();
    const busy = 'exec busybox chroot "$1" /busybox sleep 1000';
    const script = `mkdir -p ${jail}; cp /bin/busybox ${jail}; set -- ${jail}; ${busy}`;
    const wanted = spec(shell(script), { mounts: [{ source, target: at }] });
    await workload.ensure(wanted, never);
    const pid = await pidOf(workload);
    await until(() => readlinkSync(`/proc/${pid}/root`) === jail);
    await workload.ensure(wanted, never);
    t.equal(await pidOf(workload), pid, jail);
    await workload.remove('web1', never);
  }
});

test('a volume without a file system that was attached anew is another one', async (t) => {
  const { spec, open, source, target } = stage(t);
  const place = `${source}-disk`;
  const attach = (minor: string) => {
    execFileSync('mknod', [`${source}/loop${minor}`, 'b', '7', minor]);
    execFileSync('mount', ['--bind', `${source}/loop${minor}`, place]);
  };
  writeFileSync(place, '');
  attach('1998');
  t.teardown(() => execFileSync('umount', [place]));
  const workload = await open();
  const wanted = spec(shell('exec sleep 1000'), { mounts: [{ source: place, target }] });
  await workload.ensure(wanted, never);
  const pid = await pidOf(workload);
  await workload.ensure(wanted, never);
  t.equal(await pidOf(workload), pid, 'it is the same');
  execFileSync('umount', [place]);
  attach('1999');
  await workload.ensure(wanted, never);
  t.not(await pidOf(workload), pid);
});
