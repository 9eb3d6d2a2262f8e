#!/usr/bin/env node
/**
 * Simulates made-up clusters, seed after seed, and prints what went wrong, if anything:
 *
 *   npm run simulate:nightly                       10,000 seeds, on all cores
 *   npm run simulate:nightly -- --first 77 --seeds 1 --tell   one seed, line by line
 */
import { once } from 'node:events';
import { availableParallelism } from 'node:os';
import { parseArgs } from 'node:util';
import { isMainThread, parentPort, Worker, workerData } from 'node:worker_threads';
import { jsonOf, reportOf } from '../dist/src/simulate/report.js';
import {
  faultsIn,
  merge,
  noTotals,
  series,
  simulatedPerSecond,
} from '../dist/src/simulate/series.js';
import { variant } from '../dist/src/simulate/variant.js';

/** Seeds that a thread does at a time: few enough for progress, and for all to end together. */
const batchSeeds = 10;
const progressMs = 10_000;

if (isMainThread) await main();
else parentPort.on('message', async (batch) => parentPort.postMessage(await simulate(batch)));

async function main() {
  const { values } = parseArgs({
    options: {
      first: { type: 'string', default: '1' },
      seeds: { type: 'string', default: '10000' },
      faults: { type: 'string', default: '11' },
      threads: { type: 'string', default: String(availableParallelism()) },
      tell: { type: 'boolean', default: false },
      json: { type: 'boolean', default: false },
    },
  });
  const [first, seeds, faults] = [values.first, values.seeds, values.faults].map(Number);
  const interrupted = new AbortController();
  for (const signal of ['SIGINT', 'SIGTERM']) process.once(signal, () => interrupted.abort());

  const totals = noTotals();
  const progress = progressTo(totals, seeds);
  if (values.tell) {
    const tell = (atMs, text) => console.log(`${(atMs / 1_000).toFixed(4).padStart(9)}  ${text}`);
    merge(totals, await simulate({ firstSeed: first, seeds }, { faults, tell }));
  } else {
    const batches = batchesOf(first, seeds, interrupted.signal);
    const threads = Math.min(Number(values.threads), Math.ceil(seeds / batchSeeds));
    const done = (part) => {
      merge(totals, part);
      progress(part);
    };
    await Promise.all(Array.from({ length: threads }, () => inThread({ faults }, batches, done)));
  }

  const replay = (seed) =>
    `npm run simulate:nightly -- --first ${seed} --seeds 1 --faults ${faults} --tell`;
  const { user, system } = process.cpuUsage();
  const cpuMs = (user + system) / 1_000;
  if (values.json) console.log(JSON.stringify({ ...jsonOf(totals, replay), cpuMs }));
  else {
    const { head, tables, verdict } = reportOf(totals, 'made-up clusters', replay);
    const lines = tables.map((rows) => rows.map((row) => row.join('\t')).join('\n'));
    const cpu = `${(cpuMs / 1_000).toFixed(0)} s of processor time: ${Math.round(totals.simulatedMs / cpuMs)} simulated seconds for each`;
    console.log([head, cpu, ...lines, verdict.join('\n')].join('\n\n'));
  }
  process.exit(totals.violations.length === 0 && totals.runs === seeds ? 0 : 1);
}

/** One iterator for all threads: each takes the next. */
function* batchesOf(first, seeds, signal) {
  for (let done = 0; done < seeds && !signal.aborted; done += batchSeeds) {
    yield { firstSeed: first + done, seeds: Math.min(batchSeeds, seeds - done) };
  }
}

async function inThread(options, batches, done) {
  const thread = new Worker(new URL(import.meta.url), { workerData: options, argv: [] });
  for (const batch of batches) {
    thread.postMessage(batch);
    const [part] = await once(thread, 'message');
    done(part);
  }
  await thread.terminate();
}

function simulate({ firstSeed, seeds }, { faults, tell } = workerData) {
  return series({
    firstSeed,
    faults,
    signal: new AbortController().signal,
    configOf: variant,
    more: ({ runs }) => runs < seeds,
    ...(tell && { tell }),
  });
}

/** Violations at once, how far it is now and then; on stderr. */
function progressTo(totals, seeds) {
  let toldMs = performance.now();
  return ({ violations }) => {
    for (const { seed, atMs, invariant, text } of violations) {
      console.error(`seed ${seed} at ${(atMs / 1_000).toFixed(3)} s: ${invariant}: ${text}`);
    }
    if (performance.now() - toldMs < progressMs) return;
    toldMs = performance.now();
    const speed = Math.round(simulatedPerSecond(totals));
    console.error(
      `${totals.runs} of ${seeds} seeds, ${faultsIn(totals)} faults, ${totals.violations.length} violations, ${speed} simulated seconds a second`,
    );
  };
}
