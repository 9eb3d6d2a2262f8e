#!/usr/bin/env node
/**
 * Simulates made-up clusters, seed after seed, and prints what went wrong, if anything:
 *
 *   npm run simulate:nightly                       10,000 seeds
 *   npm run simulate:nightly -- --first 77 --seeds 1 --tell   one seed, line by line
 */
import { parseArgs } from 'node:util';
import { jsonOf, reportOf } from '../dist/src/simulate/report.js';
import { faultsIn, series, simulatedPerSecond } from '../dist/src/simulate/series.js';
import { variant } from '../dist/src/simulate/variant.js';

const { values } = parseArgs({
  options: {
    first: { type: 'string', default: '1' },
    seeds: { type: 'string', default: '10000' },
    faults: { type: 'string', default: '12' },
    tell: { type: 'boolean', default: false },
    json: { type: 'boolean', default: false },
  },
});
const seeds = Number(values.seeds);
const interrupted = new AbortController();
for (const signal of ['SIGINT', 'SIGTERM']) process.once(signal, () => interrupted.abort());

let toldMs = performance.now();
const totals = await series({
  firstSeed: Number(values.first),
  faults: Number(values.faults),
  signal: interrupted.signal,
  configOf: variant,
  more: ({ runs }) => runs < seeds,
  ran: (result, so) => {
    for (const { invariant, text, atMs } of result.violations.slice(0, 1)) {
      console.error(`seed ${result.seed} at ${(atMs / 1_000).toFixed(3)} s: ${invariant}: ${text}`);
    }
    if (performance.now() - toldMs < 10_000) return;
    toldMs = performance.now();
    const speed = Math.round(simulatedPerSecond(so));
    console.error(
      `${so.runs} of ${seeds} seeds, ${faultsIn(so)} faults, ${so.violations.length} violations, ${speed} simulated seconds a second`,
    );
  },
  ...(values.tell && {
    tell: (atMs, text) => console.log(`${(atMs / 1_000).toFixed(4).padStart(9)}  ${text}`),
  }),
});
const replay = (seed) =>
  `npm run simulate:nightly -- --first ${seed} --seeds 1 --faults ${values.faults} --tell`;
if (values.json) console.log(JSON.stringify(jsonOf(totals, replay)));
else {
  const { head, tables, verdict } = reportOf(totals, 'made-up clusters', replay);
  const lines = tables.map((rows) => rows.map((row) => row.join('\t')).join('\n'));
  console.log([head, ...lines, verdict.join('\n')].join('\n\n'));
}
process.exit(totals.violations.length === 0 && totals.runs === seeds ? 0 : 1);
