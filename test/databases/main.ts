import { parseArgs } from 'node:util';
import { kinds } from './kinds.js';
import { cutPower } from './power-cuts.js';

/**
 * `npm run test:storage -- --kills 200 --kinds sqlite,postgres --filesystem xfs --seed 7`: power cuts of
 * a host whose databases are written to. Exit code 0 when nothing that was acknowledged was lost and
 * nothing was damaged.
 */
const { values } = parseArgs({
  options: {
    kills: { type: 'string', default: '200' },
    kinds: { type: 'string', default: 'log,sqlite,postgres' },
    filesystem: { type: 'string', default: 'ext4' },
    seed: { type: 'string', default: '1' },
  },
});
const filesystem = values.filesystem === 'xfs' ? 'xfs' : 'ext4';
const chosen = kinds.filter(({ name }) => values.kinds.split(',').includes(name));
const stop = new AbortController();
for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  process.once(signal, () => stop.abort(new Error(`ended by ${signal}`)));
}
const started = performance.now();
const result = await cutPower({
  kills: Number(values.kills),
  kinds: chosen,
  filesystem,
  seed: Number(values.seed),
  signal: stop.signal,
  say: (line) => console.error(line),
});
const sorted = [...result.storageMs].sort((a, b) => a - b);
const middle = sorted[Math.floor(sorted.length / 2)] ?? Number.NaN;
console.log(
  JSON.stringify({
    filesystem,
    cuts: result.cuts,
    acknowledged: result.acknowledged,
    storageStepMedianMs: Math.round(middle),
    faults: result.faults,
    tookS: Math.round((performance.now() - started) / 1_000),
  }),
);
process.exitCode = result.faults.length === 0 ? 0 : 1;
