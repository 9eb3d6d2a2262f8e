import type { Test } from 'tap';
import type { Stage } from '../../src/demo/stage.js';
import type { Lab } from '../../src/lab/lab.js';
import { judgeOf } from '../../src/lab/lab-judge.js';
import { type Patience, Rows, untilSeen } from '../units/check-row.js';
import type { UnitLab } from '../units/harness.js';
import { type Promised, promises } from '../units/scenario-table.js';
import { agent, pulse, type Scenario } from '../units/scenarios.js';
import { writeIndex } from '../units/site.js';
import { bootedMs } from './machine-faults.js';
import { patienceMs, pingEveryMs } from './trunk.js';
import { machineScenarios } from './units-scenarios.js';
import { LineWriter, unitsWorld } from './units-world.js';

/** What takes a container a fraction of a second keeps an emulated processor busy for a while. */
const ofMachines: Patience = {
  settleMs: bootedMs,
  answerMs: patienceMs,
  movesMs: patienceMs,
  spareMs: bootedMs,
  page: { listenSeconds: patienceMs / 1_000, readSeconds: 60 },
  pingEveryMs,
};

/** What docs/vm-lab.md says of the units, row by row: only those that begin so. */
export async function unitsRows(
  t: Test,
  stage: Stage,
  lab: Lab,
  wanted: readonly string[],
): Promise<void> {
  const all = promises('docs/vm-lab.md');
  const chosen = all.filter(({ id }) => wanted.some((one) => id.startsWith(one)));
  if (chosen.length === 0) return;
  const world = await unitsWorld(t, stage, lab);
  await writeIndex(world);
  const rows = new Rows(world, new LineWriter(world), ofMachines);
  for (const row of chosen) {
    const scenario = machineScenarios.get(row.id);
    if (scenario === undefined) throw new Error(`nothing does ${row.id}`);
    await t.test(row.id, (t) => oneRow(t, world, rows, row, scenario));
  }
}

/** Under a judge of its own at the switch. */
async function oneRow(t: Test, world: UnitLab, rows: Rows, row: Promised, scenario: Scenario) {
  const startedMs = Date.now();
  await rows.prepare(scenario);
  const judge = judgeOf(world.lab, world.stage.config);
  try {
    await rows.check(t, row, scenario);
    const verdict = judge.verdict();
    t.ok(verdict.ok && verdict.frames > 0, `no vMAC from two ports in ${verdict.frames} frames`);
  } finally {
    judge.stop();
  }
  await daemonsReady(world);
  t.comment(`${row.id}: ${Math.round((Date.now() - startedMs) / 1_000)} s`);
}

/** One that is still starting would be hit by the next fault as well. */
async function daemonsReady({ lab, shell }: UnitLab): Promise<void> {
  const script = `systemctl is-active --quiet ${pulse}; systemctl is-active --quiet ${agent}`;
  for (const { name } of lab.plan.hosts) {
    const areActive = async () => (await shell(name, script)) === '';
    await untilSeen(`pulse and agent are active on ${name}`, areActive, bootedMs);
  }
}
