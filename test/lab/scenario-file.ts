import { spawn } from 'node:child_process';
import type { Test } from 'tap';
import type { ScenarioResult } from '../../src/lab/scenario-run.js';
import { collect } from '../../src/lab/shell.js';

const root = new URL('../../../', import.meta.url).pathname;
export const scenarioFolder = `${root}examples/scenarios`;

/** An example as a user runs it: a lab built for it, its steps, the judge's verdict, nothing left. */
export async function runScenarioFile(t: Test, file: string): Promise<void> {
  const argv = [`${root}bin/understudy`, 'lab', 'run', `${scenarioFolder}/${file}`, '--json'];
  const { code, stdout, stderr } = await collect(
    spawn(process.execPath, argv, { stdio: ['ignore', 'pipe', 'pipe'] }),
  );
  if (code !== 0) t.comment(stderr);
  const { scenario, steps, judge } = JSON.parse(stdout) as ScenarioResult;
  for (const { what, detail } of steps) if (detail !== '') t.comment(`${what}: ${detail}`);
  const last = steps.at(-1);
  t.equal(code, 0, `${scenario}${last?.ok ? '' : `: ${last?.what}: ${last?.detail}`}`);
  t.strictSame(judge.faults, [], `the judge saw ${judge.frames} frames`);
}
