import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { test } from 'tap';
import type { Lab } from '../../src/lab/lab.js';
import { labStatus } from '../../src/lab/lab-status.js';
import { Capture } from '../../src/observe/observers.js';
import { buildLab, pings, processesOf, run, until } from './nodes.js';

function nodesOf(lab: Lab) {
  return { spawn: (node: string, argv: readonly string[]) => lab.spawn(lab.command(node, argv)) };
}

test('a power cut ends every process, and no frame leaves after it', async (t) => {
  const lab = await buildLab(t);
  const before = new Set(processesOf(lab).map(({ pid }) => pid));
  const capture = new Capture(nodesOf(lab), 'h2', 'eth1', 'icmp and src host 10.66.0.1');
  t.teardown(() => capture.stop());
  await capture.ready;
  const inside = lab.spawn(lab.command('h1', ['ping', '-n', '-i', '0.002', '10.66.0.2']));
  const deaf = lab.spawn(lab.command('h1', ['bash', '-c', "trap '' TERM INT; sleep infinity"]));
  const nested = lab.spawn(
    lab.command('h1', ['unshare', '--pid', '--fork', 'sh', '-c', 'echo up; sleep infinity']),
  );
  await once(nested.stdout as NodeJS.ReadableStream, 'data');
  await once(inside.stdout as NodeJS.ReadableStream, 'data');
  await until('frames arrive', () => capture.frames.length > 5);
  const ends = [inside, deaf, nested].map((child) => once(child, 'exit'));
  await lab.kill('h1');
  const deadMs = Date.now();
  for (const [code, signal] of (await Promise.all(ends)) as [number | null, string | null][]) {
    t.strictSame([code, signal], [null, 'SIGKILL']);
  }
  t.equal(lab.pidOf('h1'), undefined);
  t.notOk(await pings(lab, 'h2', '10.66.0.1'), 'it does not answer');
  t.strictSame(
    capture.frames.filter(({ atMs }) => atMs > deadMs),
    [],
    'no frame after the cut',
  );
  t.notOk(existsSync(lab.namespacePath('h1')), 'its network namespace is gone');
  t.ok(processesOf(lab).every(({ pid }) => before.has(pid) || pid !== lab.pidOf('h2')));
  await t.rejects(lab.kill('h1'), { code: 'US_LAB_NO_POWER' });
  t.throws(() => lab.command('h1', ['true']), { code: 'US_LAB_NO_POWER' });
});

test('two hosts lose power at once', async (t) => {
  const lab = await buildLab(t);
  await lab.kill('h1', 'h2');
  t.strictSame([lab.pidOf('h1'), lab.pidOf('h2')], [undefined, undefined]);
  await t.rejects(lab.kill('h1', 'h2'), { code: 'US_LAB_NO_POWER' });
  await t.rejects(lab.kill('h1', 'nobody'), { code: 'US_LAB_NODE' });
});

test('a host that gets power again has its addresses and MACs, and nothing else', async (t) => {
  const lab = await buildLab(t);
  const look = ['sh', '-c', 'cat /sys/class/net/eth1/address /sys/class/net/eth2/address'];
  const macs = (await run(lab, 'h1', ...look)).stdout;
  await run(lab, 'h1', 'sh', '-c', 'touch /run/before /var/lib/understudy/before /srv/before');
  t.ok(await pings(lab, 'h2', '10.66.0.1'));
  await t.rejects(lab.start('h1'), { code: 'US_LAB_POWER' });
  await lab.kill('h1');
  await lab.start('h1');
  t.equal((await run(lab, 'h1', ...look)).stdout, macs);
  t.ok(await pings(lab, 'h2', '10.66.0.1'), 'neighbours reach it at once');
  const left = await run(lab, 'h1', 'sh', '-c', 'ls -d /run/before /srv/before');
  t.equal(left.stdout, '', 'its files are fresh');
  const states = await labStatus(lab);
  t.match(
    states.nodes.find(({ name }) => name === 'h1'),
    { power: 'on', links: [{ state: 'up' }, { state: 'up' }] },
  );
});

test('a paused host stands still, down to what its processes started', async (t) => {
  const lab = await buildLab(t);
  const loop = 'while :; do echo tick; sleep 0.005; done';
  const ticking = lab.spawn(lab.command('h1', ['unshare', '--pid', '--fork', 'sh', '-c', loop]));
  let ticks = 0;
  ticking.stdout?.on('data', () => {
    ticks += 1;
  });
  await until('it ticks', () => ticks > 3);
  const stopped = await lab.pause('h1');
  t.ok(stopped >= 6, `${stopped} processes`);
  const paused = (await labStatus(lab)).nodes.find(({ name }) => name === 'h1');
  t.equal(paused?.power, 'paused');
  // A ping's round trips are time enough for what was still in the pipe.
  t.ok(await pings(lab, 'h2', '10.66.0.1'), 'its kernel goes on');
  const before = ticks;
  for (let count = 0; count < 20; count += 1) await pings(lab, 'h2', '10.66.0.1');
  t.equal(ticks, before, 'nothing ran');
  t.equal(await lab.resume('h1'), stopped);
  await until('it ticks again', () => ticks > before);
  await lab.pause('h1');
  await lab.kill('h1');
  t.equal(lab.pidOf('h1'), undefined, 'power is cut from a paused host, too');
});

test('a partition cuts one network or both, and healing joins them', async (t) => {
  const lab = await buildLab(t);
  const reach = async () => [
    await pings(lab, 'h2', '10.66.0.1'),
    await pings(lab, 'h2', '10.77.0.101'),
  ];
  t.strictSame(await reach(), [true, true]);
  await lab.partition('h1', ['internal']);
  t.strictSame(await reach(), [false, true]);
  const links = (await labStatus(lab)).nodes.find(({ name }) => name === 'h1')?.links;
  t.strictSame(links, [
    { network: 'internal', state: 'down' },
    { network: 'storage', state: 'up' },
  ]);
  await lab.partition('h1', ['internal', 'storage']);
  t.strictSame(await reach(), [false, false]);
  await lab.heal('h1');
  t.strictSame(await reach(), [true, true]);
  t.ok(await pings(lab, 'h2', '10.66.255.250'), 'nobody else noticed');
});
