import { readFileSync } from 'node:fs';
import type { Test } from 'tap';
import type { SystemdLab } from './harness.js';

/** Numbers of capabilities(7). */
const CAP_IPC_LOCK = 14n;
const CAP_SYS_NICE = 23n;
const CAP_SYS_RESOURCE = 24n;
const CAP_BPF = 39n;

/** Priorities and limits as the kernel has them, not as the units ask for them. */
export async function checkRanks(t: Test, world: SystemdLab, host: string): Promise<void> {
  const { shell, property } = world;
  const found = async (pattern: string) => (await shell(host, `pgrep -f '${pattern}'`)).trim();
  const pulse = await property(host, 'understudy-pulse', 'MainPID');
  const agent = await property(host, 'understudy-agent', 'MainPID');
  const disk = await found('^qemu-storage-daemon.* --monitor');
  const workload = await found('^busybox httpd');
  const status = async (pid: string, name: string) =>
    (await shell(host, `sed -n 's/^${name}:[[:space:]]*//p' /proc/${pid}/status`)).trim();

  const threads = (await shell(host, `ps -L -o cls=,rtprio= -p ${pulse}`)).trimEnd().split('\n');
  t.ok(threads.length > 1);
  for (const thread of threads) t.match(thread, /^ *RR +1$/, 'real-time, each thread of pulse');
  const nice = async (pid: string) => (await shell(host, `ps -o cls=,ni= -p ${pid}`)).trim();
  t.match(await nice(agent), /^TS +-10$/, 'the agent before ordinary work');
  t.match(await nice(disk), /^TS +-10$/, 'and the disk');
  t.match(await nice(workload), /^TS +0$/, 'a workload is ordinary work');

  t.ok(Number.parseInt(await status(pulse, 'VmLck'), 10) > 10_000, 'pulse is locked in memory');
  const rights = (1n << CAP_BPF) | (1n << CAP_SYS_NICE) | (1n << CAP_IPC_LOCK);
  t.equal(BigInt(`0x${await status(pulse, 'CapBnd')}`), rights, 'the rights of pulse');
  t.equal(await status(pulse, 'NoNewPrivs'), '1');
  t.equal(await status(pulse, 'Seccomp'), '2');

  const mounts = (pid: string) => shell(host, `readlink /proc/${pid}/ns/mnt`);
  t.equal(await mounts(agent), await mounts('1'), 'what the agent mounts, the host sees');
  t.not(await mounts(pulse), await mounts('1'));

  const group = async (pid: string) =>
    (await shell(host, `sed -n 's/^0:://p' /proc/${pid}/cgroup`)).trim();
  t.match(await group(disk), /\/understudy-disk-\w+\.scope$/, 'the disk outlives the agent');
  t.match(await group(workload), /\/understudy-workload-web-1-\w+\.scope$/);
  await checkOrder(t, world, host, await group(disk), await group(workload));
  await checkOom(t, world, host, { [pulse]: -999, [agent]: -900, [disk]: -1000, [workload]: 0 });
  await checkSwap(t, world, host, [await group(pulse), await group(disk)]);
}

/** What comes later at start stops earlier: agent, workload, mount, disk, pulse. */
async function checkOrder(
  t: Test,
  { shell }: SystemdLab,
  host: string,
  disk: string,
  workload: string,
): Promise<void> {
  const mount = String.raw`run-understudy-web\x2d1-0.mount`;
  const earlier = async (unit: string) => {
    const name = unit.split('/').at(-1) ?? '';
    const listed = await shell(host, `systemctl list-dependencies --plain --after '${name}'`);
    return listed.split('\n').map((line) => line.trim());
  };
  const agent = await earlier('understudy-agent.service');
  t.ok(agent.includes(mount), 'agent after mount');
  t.ok(agent.includes(workload.split('/').at(-1) ?? ''), 'agent after workload');
  t.ok((await earlier(workload)).includes(mount), 'workload after mount');
  t.ok((await earlier(mount)).includes('understudy-volumes.target'), 'mount after disk');
  t.ok((await earlier('understudy-volumes.target')).includes(disk.split('/').at(-1) ?? ''));
  t.ok((await earlier(disk)).includes('understudy-pulse.service'), 'disk after pulse');
}

async function checkOom(
  t: Test,
  { shell }: SystemdLab,
  host: string,
  wanted: Readonly<Record<string, number>>,
): Promise<void> {
  const mask = /^CapBnd:\s*(\w+)/m.exec(readFileSync('/proc/self/status', 'utf8'))?.[1];
  if (((BigInt(`0x${mask}`) >> CAP_SYS_RESOURCE) & 1n) === 0n) {
    t.pass('ranks for the OOM killer', { skip: 'this machine gives nobody CAP_SYS_RESOURCE' });
    return;
  }
  for (const [pid, score] of Object.entries(wanted)) {
    t.equal(Number(await shell(host, `cat /proc/${pid}/oom_score_adj`)), score);
  }
}

async function checkSwap(
  t: Test,
  { lab, shell }: SystemdLab,
  host: string,
  groups: readonly string[],
): Promise<void> {
  // As the host's first process sees it: the control group's path begins at the container.
  const controllers = await shell(host, 'cat /sys/fs/cgroup/cgroup.controllers');
  if (!controllers.split(/\s/).includes('memory')) {
    t.pass('kept out of swap', { skip: 'this machine’s cgroup2 does not control memory' });
    return;
  }
  for (const group of groups) {
    const inside = group.replace(`/${lab.name}/${host}/payload`, '');
    t.equal(await shell(host, `cat /sys/fs/cgroup${inside}/memory.swap.max`), '0\n');
  }
}
