import { once } from 'node:events';
import { test } from 'tap';
import type { Timeline } from '../../src/control/timeline.js';
import { macOf, must, personality } from '../../src/demo/stage.js';
import { judgeOf } from '../../src/lab/lab-judge.js';
import { incarnationOf, openLab, understudy, untilRuns, untilSpare } from './harness.js';

/** No controller. */
const owner = 'h4';

/**
 * A cable is pulled, and back in its socket as soon as the host was failed over. What the personality
 * sent within the rest of the lease then still waits on the host's NIC: with the cable the kernel forgot
 * the neighbours (neigh_carrier_down), and it keeps what it has for them until they answer again.
 */
test('what waited for a cable does not leave after the lease', async (t) => {
  const { stage, lab } = await openLab(t, 'late-frames');
  const judge = judgeOf(lab, stage.config);
  t.teardown(() => judge.stop());
  const { host, epoch: placed } = personality(await stage.status(), 'web1');
  if (host !== owner) {
    await understudy(lab, 'move', 'web1', '--to', owner);
    await untilRuns(stage, 'web1', placed + 1);
  }
  // Never a moment without a frame that every host of the network gets.
  const send = `const socket = require('node:dgram').createSocket('udp4');
    socket.bind(() => { socket.setBroadcast(true);
      setInterval(() => socket.send('late', 9, '10.10.0.255', () => {}), 2);
      console.log('sending'); });`;
  const sender = stage.lab.spawn('web1', [process.execPath, '-e', send]);
  t.teardown(() => sender.kill('SIGKILL'));
  if (sender.stdout === null) throw new Error('the sender has no output');
  await once(sender.stdout, 'data');

  const before = await stage.status();
  const { epoch } = personality(before, 'web1');
  const mac = macOf(before, 'web1');
  await lab.partition(owner, ['internal'], 'both');
  const record = await stage.failover('web1', epoch + 1, 20_000);
  t.equal(record.outcome, 'ok');
  const last = judge.lastFrame(mac, owner);
  t.ok(last !== undefined, 'it sent until the cable was pulled');
  const waiting = ['ip', 'neigh', 'show', 'dev', 'eth1', 'nud', 'incomplete'];
  const gateway = stage.config.networks[0]?.gateways[0] ?? '';
  t.match(
    await must(stage, owner, waiting),
    `${gateway} `,
    'and what it sent to the client’s edge waits',
  );
  await lab.heal(owner);
  await untilSpare(stage, owner, incarnationOf(before, owner));
  // The kernel gives a neighbour three seconds to answer; it answered, or the host were no spare.
  t.equal(judge.lastFrame(mac, owner), last, 'not a frame of it after the cable was back');
  const told = JSON.parse(await understudy(lab, 'failovers', '--json')) as readonly Timeline[];
  const hosts = [told.at(-1)?.from ?? '', ...[...told].reverse().map(({ to }) => to)];
  t.match(judge.verdict(new Map([[mac, hosts]])), { ok: true, missed: 0 });
});
