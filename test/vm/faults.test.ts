import { createHash } from 'node:crypto';
import tap, { test } from 'tap';
import { macOf, must, personality, type Stage } from '../../src/demo/stage.js';
import { bootNs } from '../../src/ffi/clock.js';
import type { Lab } from '../../src/lab/lab.js';
import { judgeOf } from '../../src/lab/lab-judge.js';
import type { Judge } from '../../src/observe/judge.js';
import { PingWatch } from '../../src/observe/observers.js';
import { incarnationOf, openLab, understudy, untilSpare } from '../lab/harness.js';
import { address, leaseMs, pingEveryMs, target, trunk } from './trunk.js';

const patienceMs = 120_000;
const bootMs = 300_000;
tap.setTimeout(1_500_000);

interface Scene {
  readonly stage: Stage;
  readonly lab: Lab;
  readonly judge: Judge;
  readonly ping: PingWatch;
}

test('faults of hosts that are virtual machines', async (t) => {
  const { stage, lab } = await openLab(t, 'vmfaults', {}, trunk(['h1', 'h2', 'h3']));
  const judge = judgeOf(lab, stage.config);
  t.teardown(() => judge.stop());
  const ping = new PingWatch(stage.lab, 'c1', address, pingEveryMs);
  t.teardown(() => ping.stop());
  const scene = { stage, lab, judge, ping };

  await t.test('a SIGKILL of the agent is nothing to its personality', async (t) => {
    const { host, epoch } = await owner(stage);
    const since = Date.now();
    await must(stage, host, ['sh', '-c', killAndWait('understudy-agent')]);
    const after = await owner(stage);
    t.same(after, { host, epoch }, 'it is where it was');
    const gapMs = ping.longestGapMs(since) ?? Number.NaN;
    t.ok(gapMs < leaseMs, `longest time without an answer: ${Math.round(gapMs)} ms`);
  });

  await t.test(
    'a SIGKILL of pulse costs the host its lease: it comes back as a spare',
    async (t) => {
      const before = await stage.status();
      const { host, epoch } = await owner(stage);
      await must(stage, host, ['sh', '-c', killAndWait('understudy-pulse')]);
      // Pulse needs longer for its start here than the lease is long.
      const record = await stage.failover('web', epoch + 1, patienceMs);
      t.equal(record.outcome, 'ok', `${host} → ${record.to}`);
      await ping.answerAfter(Date.now(), patienceMs);
      await untilSpare(stage, host, incarnationOf(before, host), patienceMs);
    },
  );

  await t.test('its network is cut: it goes silent, and comes back as a spare', async (t) => {
    const before = await stage.status();
    const { host, epoch } = await owner(stage);
    await lab.partition(host, ['internal']);
    const record = await stage.failover('web', epoch + 1, patienceMs);
    t.equal(record.outcome, 'ok', `${host} → ${record.to}`);
    await ping.answerAfter(Date.now(), patienceMs);
    await lab.heal(host);
    await untilSpare(stage, host, incarnationOf(before, host), patienceMs);
    const verdict = judge.verdict(await given(scene));
    t.match(verdict, { ok: true }, `no vMAC from two ports in ${verdict.frames} frames`);
  });

  await t.test('its spare is rebooted: it comes back by itself, as a spare', async (t) => {
    const before = await stage.status();
    const busy = before.personalities.map(({ host }) => host);
    const spare = before.hosts.find(({ name }) => !busy.includes(name))?.name;
    if (spare === undefined) throw new Error('no host is a spare');
    await reboot(stage, spare);
    await untilSpare(stage, spare, incarnationOf(before, spare), bootMs);
    t.equal((await owner(stage)).epoch, personality(before, 'web').epoch, 'nothing was moved');
  });

  await t.test('its processor stops, clock and all, and goes on', async (t) => {
    const before = await stage.status();
    const { host, epoch } = await owner(stage);
    const mac = macOf(before, 'web');
    t.equal(await lab.pause(host), 1);
    t.equal((await labPower(lab, host)).trim(), 'paused');
    const record = await stage.failover('web', epoch + 1, patienceMs);
    t.equal(record.outcome, 'ok', `${host} → ${record.to}`);
    await ping.answerAfter(Date.now(), patienceMs);
    await must(stage, 'web', ['sync', '-f', '/srv/www']);
    const sum = await diskSum(stage, lab);
    const resumedNs = bootNs();
    await lab.resume(host);
    await untilSpare(stage, host, incarnationOf(before, host), patienceMs);
    const last = judge.lastFrame(mac, host) ?? 0n;
    const lateMs = Number(last - resumedNs) / 1e6;
    // Its own clock says that no time has passed: what-happens-when.md, "What it does not do".
    t.ok(lateMs <= leaseMs, `its last frame ${Math.round(lateMs)} ms after it went on`);
    t.equal(await diskSum(stage, lab), sum, 'and not a byte of the LUN changed');
    t.equal((await owner(stage)).host, record.to);
  });
});

/** What systemd says when it is done; of a machine that shuts down the guest agent's line breaks. */
async function reboot(stage: Stage, host: string): Promise<void> {
  await stage.lab.exec(host, ['systemctl', 'reboot']).catch(() => undefined);
}

async function owner(stage: Stage): Promise<{ host: string; epoch: number }> {
  const { host, epoch } = personality(await stage.status(), 'web');
  if (host === null) throw new Error('web has no host');
  return { host, epoch };
}

/** Hosts that web was given to, in order, by what `failovers` says. */
async function given({ stage, lab }: Scene): Promise<ReadonlyMap<string, readonly string[]>> {
  const text = await understudy(lab, 'failovers', '--json');
  const all = JSON.parse(text) as readonly { personality: string; from: string; to: string }[];
  const status = await stage.status();
  return new Map(
    ['web', 'other'].map((name) => {
      const own = all.filter((one) => one.personality === name).reverse();
      const now = personality(status, name).host ?? '';
      return [macOf(status, name), [own[0]?.from ?? now, ...own.map(({ to }) => to)]];
    }),
  );
}

/** Until it is another start of the unit that has said that it is ready. */
const killAndWait = (unit: string) => `id() { systemctl show -P InvocationID ${unit}; }
before=$(id)
systemctl kill -s KILL ${unit}
for i in $(seq 600); do
  [ "$(id)" != "$before" ] && [ "$(systemctl is-active ${unit})" = active ] && exit
  sleep 0.2
done
exit 1`;

async function labPower(lab: Lab, host: string): Promise<string> {
  const { nodes } = JSON.parse(await understudy(lab, 'lab', 'status', '--json')) as {
    nodes: readonly { name: string; power: string }[];
  };
  return nodes.find(({ name }) => name === host)?.power ?? '';
}

/** Of the LUN's bytes, read beside the target. */
async function diskSum(stage: Stage, lab: Lab): Promise<string> {
  const sum = await must(stage, 'storage', ['sha256sum', lab.backingFile(target, 1)]);
  return createHash('sha256').update(sum).digest('hex');
}
