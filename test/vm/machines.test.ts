import tap, { type Test, test } from 'tap';
import type { Stage } from '../../src/demo/stage.js';
import type { Lab } from '../../src/lab/lab.js';
import { openLab } from '../lab/harness.js';
import { MachineFaults } from './machine-faults.js';
import { leaseMs, trunk } from './trunk.js';
import { unitsRows } from './units-rows.js';

/** When a lease that nobody extends has ended, and a frame that was on its way has passed. */
const overMs = leaseMs + 1_000;
tap.setTimeout(1_800_000);

/** `UNDERSTUDY_UNITS=pulse,host`: only the rows of docs/vm-lab.md that begin so, and nothing else. */
const units = process.env.UNDERSTUDY_UNITS;

test('whatever is done to three machines, one thing after the other', async (t) => {
  const startedMs = Date.now();
  const secondsSince = () => Math.round((Date.now() - startedMs) / 1_000);
  const { stage, lab } = await openLab(t, 'machines', {}, trunk(['h1', 'h2', 'h3']));
  t.comment(`up after ${secondsSince()} s`);
  await unitsRows(t, stage, lab, (units ?? '').split(','));
  t.comment(`with the units ${secondsSince()} s`);
  if (units === undefined) await standstills(t, stage, lab);
  t.comment(`all in ${secondsSince()} s`);
});

/** Machines that stand still or are cut off, each time the one that has the disk. */
async function standstills(t: Test, stage: Stage, lab: Lab): Promise<void> {
  const faults = new MachineFaults(stage, lab);
  t.teardown(() => faults.stop());

  await faults.one(t, 'its processor is paused, and its clock with it', async (t, before) => {
    const resumedMs = await faults.pausedUntilTakenOver(t, before);
    await faults.isSpare(t, before);
    // Its own clock has a rest of the lease left (docs/what-happens-when.md): no longer than that.
    faults.oneOwner(t, before, resumedMs + overMs);
    await faults.readable(t);
  });

  await faults.one(t, 'it stands still while its clock goes on', async (t, before) => {
    await faults.stalledUntilTakenOver(t, before);
    await faults.isSpare(t, before);
    faults.oneOwner(t, before);
    await faults.readable(t);
  });

  await faults.one(t, 'it is cut off the internal network', async (t, before) => {
    await lab.partition(before.host, ['internal']);
    await faults.takenOver(t, before);
    await lab.heal(before.host);
    await faults.isSpare(t, before);
    faults.oneOwner(t, before);
  });
  await faults.stop();
}
