import { setTimeout as pause } from 'node:timers/promises';
import tap, { type Test, test } from 'tap';
import { PingWatch } from '../../src/observe/observers.js';
import { untilSpare } from '../lab/harness.js';
import { applyWorkload, page, runsAs, type SystemdLab, systemdMissing } from '../units/harness.js';
import { type Promised, promises } from '../units/scenario-table.js';
import { lateWasKept, type Scenario, scenarios, shop } from '../units/scenarios.js';
import { calm, openSite, standing, Writer } from '../units/site.js';

const missing = systemdMissing();
tap.setTimeout(1_800_000);
const settleMs = 60_000;

/** `UNDERSTUDY_UNITS=pulse,host`: only the rows that begin so. */
const units = (process.env.UNDERSTUDY_UNITS ?? '').split(',');
const wanted = promises().filter(({ id }) => units.some((unit) => id.startsWith(unit)));
if (wanted.length === 0) throw new Error(`no row begins with ${units.join(' or ')}`);

async function until(what: string, condition: () => Promise<boolean>): Promise<void> {
  for (const endMs = performance.now() + settleMs; !(await condition().catch(() => false)); ) {
    if (performance.now() > endMs) throw new Error(`waited ${settleMs} ms in vain until ${what}`);
    await pause(100);
  }
}

/** What a cell says of something that has a name: the same as before, another, none. */
async function held(
  t: Test,
  what: string,
  word: string,
  before: string,
  now: () => Promise<string>,
) {
  if (word === 'same') t.equal(await now(), before, `${what} is the same`);
  if (word === 'none') await until(`${what} is gone`, async () => (await now()) === '');
  if (word === 'anew') {
    await until(`${what} is another`, async () => ![before, ''].includes(await now()));
  }
  t.pass(`${what}: ${word}`);
}

async function checkRow(
  t: Test,
  world: SystemdLab,
  writer: Writer,
  row: Promised,
  scenario: Scenario,
): Promise<void> {
  const before = await standing(world);
  const host = scenario.on ?? before.host;
  const process = await scenario.process(world, host);
  t.not(process, '', 'the unit runs');
  if (scenario.alone) await writer.stop();
  else writer.ensure();
  const ping = new PingWatch(world.stage.lab, 'c1', '10.10.0.11');
  try {
    await ping.answerAfter(Date.now(), 10_000);
    const sinceMs = Date.now();
    await scenario.act(world, host);
    if (row.personality === 'moves') {
      t.not(await runsAs(world, before.epoch + 1), before.host, 'another host has it');
    }
    const later = () => standing(world);
    await held(t, 'its process', row.process, process, () => scenario.process(world, host));
    await held(
      t,
      'the workload',
      row.workload,
      before.workload,
      async () => (await later()).workload,
    );
    await held(t, 'the disk', row.disk, before.disk, async () => (await later()).disk);
    t.equal(await page(world), 'kept\n', 'it serves from its disk');
    const after = await later();
    if (row.personality !== 'moves') {
      t.same([after.host, after.epoch], [before.host, before.epoch], 'same host, same epoch');
    }
    await ping.answerAfter(Date.now(), 10_000);
    t.comment(`${row.id}: ${ping.lostAfter(sinceMs)} pings lost`);
    if (row.personality === '0 lost') t.equal(ping.lostAfter(sinceMs), 0, 'no ping is lost');
    if (row.disk === 'same') t.ok(writer.running, 'who writes goes on');
    t.strictSame(await writer.lost(), [], `all of ${writer.acknowledged} writes are there`);
    const [, late] = /: (?:systemctl )?(reboot|remove)$/.exec(row.id) ?? [];
    if (late !== undefined) t.ok(await lateWasKept(world, late), 'what was not synced, too');
  } finally {
    await ping.stop();
  }
  await scenario.undo?.(world, host);
  if (row.personality === 'moves')
    await untilSpare(world.stage, before.host, before.incarnation, 60_000);
  await calm(world);
}

test('what docs/what-happens-when.md says of the units', { skip: missing ?? false }, async (t) => {
  const world = await openSite(t, 'site');
  const writer = new Writer(world);
  const index = 'echo kept > /srv/shop/index.html; sync -f /srv/shop';
  await world.stage.lab.exec('web-1', ['sh', '-c', index]);
  let kind: Scenario['workload'];
  for (const row of wanted) {
    const scenario = scenarios.get(row.id);
    if (scenario === undefined) throw new Error(`nothing does ${row.id}`);
    if (scenario.workload !== kind) {
      kind = scenario.workload;
      const command = ['busybox', 'httpd', '-f', '-p', '80', '-h', '/srv/shop'];
      await applyWorkload(
        world,
        kind === 'unit' ? { kind: 'unit', unit: shop } : { kind: 'command', command },
      );
      const one = kind === 'unit' ? '/bin/busybox' : 'busybox';
      const host = (await standing(world)).host;
      await until(
        `the workload is a ${kind ?? 'command'}`,
        async () => (await world.shell(host, `pgrep -f '^${one} httpd'`)) !== '',
      );
    }
    await t.test(row.id, (t) => checkRow(t, world, writer, row, scenario));
  }
});
