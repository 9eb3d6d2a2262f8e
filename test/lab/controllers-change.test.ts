import { test } from 'tap';
import type { Status } from '../../src/control/status.js';
import { personality } from '../../src/demo/stage.js';
import { PingWatch } from '../../src/observe/observers.js';
import { apply, controlled, nothingLost, settled } from './controllers.js';
import { openLab, untilSpare } from './harness.js';

test('controllers are replaced, a live one and a dead one: no ping is lost, and only the new ones count', async (t) => {
  const { stage, lab } = await openLab(t, 'elect', {}, controlled(['h1', 'h2', 'h3']));
  await settled(stage, ['h1', 'h2', 'h3']);
  const before = personality(await stage.status(), 'web1');
  const owner = before.host ?? '';
  const ping = new PingWatch(stage.lab, 'c1', '10.10.0.11');
  t.teardown(() => ping.stop());
  const sinceMs = Date.now();
  await ping.answerAfter(sinceMs, 10_000);

  await t.test('a live one, and whoever drives the change dies over it', async (t) => {
    const { leader } = await stage.status();
    const driver = lab.machine(leader ?? '').daemon('agent');
    // A controller that is up and has not read of the change: it cannot be over before that one dies, or,
    // where the machine is slow, is voted out for having no agent.
    driver.signal('STOP');
    const atMs = Date.now();
    await apply(lab, ['h1', 'h2', 'h6']);
    const under = (status: Status) =>
      status.controllersChange?.phase === 'reading' || stateOf(status, leader ?? '') === 'expired';
    await stage.until('the change is under way', under, 5_000);
    driver.signal('KILL');
    await driver.restart();
    await settled(stage, ['h1', 'h2', 'h6']);
    t.comment(`took ${Date.now() - atMs} ms`);
    await nothingLost(t, stage, ping, sinceMs, owner, before.epoch);
  });

  await t.test('one whose host is dead for good', async (t) => {
    await lab.kill('h2');
    await stage.until('h2 is voted out', (status) => stateOf(status, 'h2') === 'expired', 10_000);
    const atMs = Date.now();
    await apply(lab, ['h1', 'h6', 'h7']);
    await settled(stage, ['h1', 'h6', 'h7']);
    t.comment(`took ${Date.now() - atMs} ms`);
    await nothingLost(t, stage, ping, sinceMs, owner, before.epoch);
  });
  await ping.answerAfter(Date.now(), 5_000);
  t.equal(ping.lostAfter(sinceMs), 0, `of ${ping.answers} pings none is lost`);
  t.comment(`longest gap ${ping.longestGapMs(sinceMs)?.toFixed(1)} ms`);
  t.notMatch(lab.readFile(`logs/${owner}-pulse.log`), /lease lapsed/, 'the lease never lapsed');

  await t.test('a failover works with the new ones', async (t) => {
    const { hosts } = await stage.status();
    const was = hosts.find(({ name }) => name === owner)?.incarnation ?? 0;
    await lab.kill(owner);
    const after = await stage.until('web1 runs elsewhere', runsElsewhere(owner), 10_000);
    t.equal(personality(after, 'web1').epoch, before.epoch + 1);
    await lab.start(owner);
    await untilSpare(stage, owner, was);
  });

  await t.test('and not with a majority of those of before alone', async (t) => {
    const owner = personality(await stage.status(), 'web1').host ?? '';
    const newcomers = ['h6', 'h7'].flatMap((name) => {
      const machine = lab.machine(name);
      return [machine.daemon('agent'), machine.daemon('pulse')];
    });
    for (const daemon of newcomers) daemon.signal('STOP');
    await lab.kill(owner);
    // The one that stayed sees it and votes; h3, which was replaced, is up and says nothing.
    const voted = await stage.until('h1 votes', votedBy(owner, 'h1'), 10_000);
    t.same(voted.hosts.find(({ name }) => name === owner)?.votes, ['h1']);
    // That nothing happens is no event: some four takeovers long.
    await new Promise((resolve) => setTimeout(resolve, 1_000));
    t.equal(personality(await stage.status(), 'web1').host, owner, 'nothing was committed');
    for (const daemon of newcomers) daemon.signal('CONT');
    await stage.until('web1 runs elsewhere', runsElsewhere(owner), 15_000);
  });
});

const stateOf = ({ hosts }: Status, name: string) => hosts.find((one) => one.name === name)?.state;
const votedBy = (host: string, controller: string) => (status: Status) =>
  status.hosts.some(({ name, votes }) => name === host && votes.includes(controller));
const runsElsewhere = (owner: string) => (status: Status) => {
  const { host, phase } = personality(status, 'web1');
  return host !== owner && phase === 'running';
};
