import { createHash } from 'node:crypto';
import { createInterface } from 'node:readline';
import { type Test, test } from 'tap';
import type { Timeline } from '../../src/control/timeline.js';
import { macOf, must, personality, type Stage } from '../../src/demo/stage.js';
import type { Lab } from '../../src/lab/lab.js';
import { judgeOf } from '../../src/lab/lab-judge.js';
import { labDirectory } from '../../src/lab/state.js';
import type { Judge } from '../../src/observe/judge.js';
import { PingWatch } from '../../src/observe/observers.js';
import { parseConnections } from '../../src/storage/tgt-control.js';
import { initiatorName } from '../../src/storage/types.js';
import { attachXdpPass } from '../xdp-pass.js';
import { incarnationOf, openLab, understudy, untilRuns, untilSpare } from './harness.js';
import { manyWritesProgram, unanswered } from './many-writes.js';

const leaseMs = 200;
const graceMs = 20;
/** Of each of two programs; when all is stopped, some have just been answered. */
const writesAtOnce = 800;
/** No controller: every answer that it gets from one acknowledges a heartbeat. */
const owner = 'h4';

interface Scene {
  readonly stage: Stage;
  readonly lab: Lab;
  readonly judge: Judge;
  readonly ping: PingWatch;
}

test('a host whose every process is stopped', async (t) => {
  const { stage, lab } = await openLab(t, 'pause');
  const judge = judgeOf(lab, stage.config);
  t.teardown(() => judge.stop());
  const ping = new PingWatch(stage.lab, 'c1', '10.10.0.11');
  t.teardown(() => ping.stop());
  const scene = { stage, lab, judge, ping };

  await t.test('goes silent when its lease ends, and writes nothing when it goes on', async (t) => {
    await toOwner(scene);
    const writer = await busyWriter(t, stage);
    t.teardown(() => writer.kill('SIGKILL'));
    const program = manyWritesProgram(t);
    const files = ['many1', 'many2'];
    const many = await Promise.all(files.map((file) => manyWrites(stage, program, file)));
    t.teardown(() => many.map((one) => one.kill('SIGKILL')));
    await pauseAndJudge(t, scene, async () => {
      const waiting = many.reduce((sum, { pid }) => sum + unanswered(pid ?? 0), 0);
      t.ok(waiting >= 1_000, `${waiting} writes were under way when the host was stopped`);
      const { host, epoch } = personality(await stage.status(), 'web1');
      const only = initiatorName(stage.config.cluster, 'web1', host ?? '', epoch);
      t.same(await loggedIn(scene), [only], 'the target has one session: the new owner’s');
      // Nothing of the new owner's own may change the disk from here on.
      const count = 'wc -l < /srv/www/log > /srv/www/count; sync -f /srv/www';
      await must(stage, 'web1', ['sh', '-c', count]);
      const unchanged = await diskSum(stage);
      return async () => {
        t.equal(await diskSum(stage), unchanged, 'not a byte of the LUN changed');
        t.same(await loggedIn(scene), [only], 'and the target let in nobody else');
        const lines = 'wc -l < /srv/www/log; cat /srv/www/count';
        const [now, then] = (await must(stage, 'web1', ['sh', '-c', lines])).trim().split('\n');
        t.equal(now, then, 'the new owner’s file is as it was');
        t.ok(Number(now) >= 5, 'with every line that was synced before the pause');
      };
    });
  });

  await t.test('does so too with somebody’s XDP program on its NIC', async (t) => {
    await toOwner(scene);
    attachXdpPass(lab.namespacePath(owner), 'eth1');
    const shown = await must(stage, owner, ['ip', 'link', 'show', 'dev', 'eth1']);
    t.match(shown, /prog\/xdp id \d+/);
    await pauseAndJudge(t, scene);
  });

  await t.test('and is caught if it does not: with both its guards taken away', async (t) => {
    await toOwner(scene);
    const mac = macOf(await stage.status(), 'web1');
    t.match(judge.verdict(await given(scene)), { ok: true, missed: 0 }, 'all well until here');
    await must(stage, 'web1', ['tc', 'qdisc', 'del', 'dev', 'eth0', 'clsact']);
    await must(stage, owner, ['tc', 'filter', 'del', 'dev', 'eth1', 'egress']);
    const { epoch } = personality(await stage.status(), 'web1');
    await lab.pause(owner);
    const record = await stage.failover('web1', epoch + 1, 20_000);
    t.equal(record.outcome, 'ok');
    // Everybody on the LAN hears this, the stopped host's kernel too.
    await stage.lab.exec('c1', ['arping', '-c', '3', '-w', '3', '-I', 'eth0', '10.10.0.11']);
    const verdict = judge.verdict(await given(scene));
    t.equal(verdict.ok, false, 'two hosts answer for one vMAC');
    t.match(verdict.rivals, [{ mac, port: owner, owner: record.to }]);
    await lab.resume(owner);
  });
});

/** Hosts that web1 was given to, in order, by what `failovers` says. */
async function given({ stage, lab }: Scene): Promise<ReadonlyMap<string, readonly string[]>> {
  const text = await understudy(lab, 'failovers', '--json');
  const newestFirst = JSON.parse(text) as readonly Pick<Timeline, 'from' | 'to'>[];
  const oldestFirst = [...newestFirst].reverse();
  const hosts = [oldestFirst[0]?.from ?? '', ...oldestFirst.map(({ to }) => to)];
  return new Map([[macOf(await stage.status(), 'web1'), hosts]]);
}

async function toOwner({ stage, lab, ping }: Scene): Promise<void> {
  const { host, epoch } = personality(await stage.status(), 'web1');
  if (host !== owner) {
    await understudy(lab, 'move', 'web1', '--to', owner);
    await untilRuns(stage, 'web1', epoch + 1);
  }
  await ping.answerAfter(Date.now(), 10_000);
}

/**
 * Stops every process of the owner, waits for the takeover, lets them go on, and judges by what passed
 * the switch. `then` runs while the host is paused and taken over; what it returns when it is back.
 */
async function pauseAndJudge(
  t: Test,
  { stage, lab, judge, ping }: Scene,
  then?: () => Promise<() => Promise<void>>,
): Promise<void> {
  const before = await stage.status();
  const { epoch } = personality(before, 'web1');
  const mac = macOf(before, 'web1');
  const stopped = await lab.pause(owner);
  const pausedMs = Date.now();
  t.ok(stopped > 3, `${stopped} processes are stopped`);
  const record = await stage.failover('web1', epoch + 1, 20_000);
  t.equal(record.outcome, 'ok', `taken over by ${record.to}`);
  await ping.answerAfter(pausedMs + (record.steps.at(0)?.endMs ?? 0), 20_000);
  const acknowledged = lastAcknowledged(stage, judge);
  const last = judge.lastFrame(mac, owner) ?? 0n;
  const afterMs = Number(last - acknowledged) / 1e6;
  const shown = `last frame ${afterMs.toFixed(1)} ms after the last acknowledged heartbeat was sent`;
  t.ok(afterMs <= leaseMs + graceMs, shown);
  t.ok(afterMs > leaseMs / 2, 'and its kernel did answer until then');
  const judgeDisk = await then?.();
  await lab.resume(owner);
  await untilSpare(stage, owner, incarnationOf(before, owner));
  t.equal(judge.lastFrame(mac, owner), last, 'not a frame with the vMAC after it went on');
  await judgeDisk?.();
}

/** When the newest heartbeat passed the switch that a majority of controllers answered. */
function lastAcknowledged(stage: Stage, judge: Judge): bigint {
  const me = stage.lab.underlayAddress(owner);
  const newest = stage.config.controllers.map((controller) => {
    const address = stage.lab.underlayAddress(controller);
    let sent = 0n;
    let answered = 0n;
    for (const { from, to, atNs } of judge.passages) {
      if (from === me && to === address) sent = atNs;
      if (from === address && to === me) answered = sent;
    }
    return answered;
  });
  newest.sort((a, b) => (a < b ? 1 : -1));
  return newest[Math.floor(newest.length / 2)] ?? 0n;
}

/** A writer that never rests: each line is synced, so it is in flight when the pause comes. */
async function busyWriter(t: Test, stage: Stage) {
  const loop =
    'i=0; while :; do i=$((i+1)); echo "$i of the old owner" >> /srv/www/log; sync /srv/www/log; echo "$i"; done';
  const writer = stage.lab.spawn('web1', ['sh', '-c', loop]);
  await new Promise<void>((resolve) => {
    if (writer.stdout === null) throw new Error('the writer has no output');
    createInterface({ input: writer.stdout }).on('line', (line) => {
      if (Number(line) >= 5) resolve();
    });
  });
  t.comment('the writer writes');
  return writer;
}

/** Writes that are asked for at once, and each again as soon as it is answered. */
async function manyWrites(stage: Stage, program: string, file: string) {
  const child = stage.lab.spawn('web1', [program, `/srv/www/${file}`, String(writesAtOnce)]);
  await new Promise<void>((resolve, reject) => {
    if (child.stdout === null) throw new Error('the program has no output');
    child.once('close', () => reject(new Error('the many writes ended')));
    createInterface({ input: child.stdout }).on('line', () => resolve());
  });
  return child;
}

/** Initiators with a session, as the target itself tells. */
async function loggedIn({ lab, stage }: Scene): Promise<readonly string[]> {
  const socket = `TGT_IPC_SOCKET=${labDirectory(lab.name)}/tgt/socket`;
  const show = 'tgtadm -C 1 --lld iscsi --op show --mode conn --tid 1';
  const shown = await must(stage, 'storage', ['env', socket, ...show.split(' ')]);
  return parseConnections(shown).map(({ initiator }) => initiator);
}

/** Of the LUN's bytes, read beside the target. */
async function diskSum(stage: Stage): Promise<string> {
  const volume = stage.config.volumes[0];
  const file = stage.lab.backingFile(volume?.target ?? '', volume?.lun ?? 0);
  return createHash('sha256')
    .update(await must(stage, 'storage', ['sha256sum', file]))
    .digest('hex');
}
