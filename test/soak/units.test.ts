import tap, { test } from 'tap';
import { ofContainers, Rows } from '../units/check-row.js';
import { systemdMissing } from '../units/harness.js';
import { promises } from '../units/scenario-table.js';
import { scenarios } from '../units/scenarios.js';
import { openSite, Writer, writeIndex } from '../units/site.js';

const missing = systemdMissing();
tap.setTimeout(1_800_000);

/** `UNDERSTUDY_UNITS=pulse,host`: only the rows that begin so. */
const units = (process.env.UNDERSTUDY_UNITS ?? '').split(',');
const wanted = promises().filter(({ id }) => units.some((unit) => id.startsWith(unit)));
if (wanted.length === 0) throw new Error(`no row begins with ${units.join(' or ')}`);

test('what docs/what-happens-when.md says of the units', { skip: missing ?? false }, async (t) => {
  const world = await openSite(t, 'site');
  await writeIndex(world);
  const rows = new Rows(world, new Writer(world), ofContainers);
  for (const row of wanted) {
    const scenario = scenarios.get(row.id);
    if (scenario === undefined) throw new Error(`nothing does ${row.id}`);
    await rows.prepare(scenario);
    await t.test(row.id, (t) => rows.check(t, row, scenario));
  }
});
