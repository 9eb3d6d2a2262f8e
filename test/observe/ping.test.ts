import { type ChildProcess, spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { type Test, test } from 'tap';
import { PingWatch } from '../../src/observe/observers.js';

const answerMs = 20_000;
const skip = process.getuid?.() === 0 ? false : 'needs root';

/** A client alone in a network of its own, with what `before` makes of that. */
function alone(t: Test, before = 'true') {
  let child: ChildProcess | undefined;
  const nodes = {
    spawn: (_node: string, argv: readonly string[]) => {
      const script = `ip link set lo up && ${before} && exec "$@"`;
      child = spawn('unshare', ['--net', 'sh', '-c', script, 'client', ...argv], {
        stdio: ['ignore', 'pipe', 'inherit'],
      });
      return child;
    },
  };
  t.teardown(() => child?.kill('SIGKILL'));
  return { nodes, of: (path: string) => readFileSync(`/proc/${child?.pid}/${path}`, 'utf8') };
}

test('each answer counts, of both families, and what was not answered', { skip }, async (t) => {
  for (const address of ['127.0.0.1', '::1']) {
    const { nodes } = alone(t);
    const ping = new PingWatch(nodes, 'client', address);
    const first = await ping.answerAfter(0, answerMs);
    await ping.answerAfter(first + 50, answerMs);
    t.equal(ping.lostAfter(0), 0, address);
    t.ok((ping.longestGapMs(first) ?? 0) > 0);
    await ping.stop();
  }
});

test('it goes before ordinary work: a client is a machine of its own', { skip }, async (t) => {
  const { nodes, of } = alone(t);
  const ping = new PingWatch(nodes, 'client', '127.0.0.1');
  await ping.answerAfter(0, answerMs);
  const policy = Number(of('stat').split(') ')[1]?.split(' ')[38]);
  t.equal(policy, 2, 'SCHED_RR');
  await ping.stop();
});

test('it asks as often while nobody answers', { skip }, async (t) => {
  const silence = 'echo 1 > /proc/sys/net/ipv4/icmp_echo_ignore_all';
  const { nodes, of } = alone(t, silence);
  const ping = new PingWatch(nodes, 'client', '127.0.0.1');
  const asked = () => {
    const [names, values] = of('net/snmp')
      .split('\n')
      .filter((line) => line.startsWith('Icmp:'))
      .map((line) => line.split(' '));
    return Number(values?.[names?.indexOf('InEchos') ?? 0] ?? 0);
  };
  const until = async (count: number) => {
    const endMs = performance.now() + answerMs;
    while (asked() < count && performance.now() < endMs) await new Promise(setImmediate);
    return performance.now();
  };
  const begunMs = await until(10);
  const tookMs = (await until(110)) - begunMs;
  t.ok(tookMs / 100 < 9, `${(tookMs / 100).toFixed(1)} ms each; ping(8) would take 10`);
  await ping.stop();
});
