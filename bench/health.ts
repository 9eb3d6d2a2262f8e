import { setTimeout as pause } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { parseClusterFile } from '../src/config/parse.js';
import { Claims } from '../src/demo/claims.js';
import { openStage } from '../src/demo/open-stage.js';
import { FlowWatch } from '../src/observe/flow-watch.js';
import { machine } from './machine.js';
import { intoPage, table } from './markdown.js';
import {
  clusterFile,
  type Death,
  intervalMs,
  killMember,
  service,
  untilBothServe,
} from './member-death.js';

/**
 * `npm run bench:health -- [--kills N] [--page]`: a member's process is killed while a client opens a connection
 * every ms. When the last one went to it, and how long after the decision that it is down.
 */
const { values } = parseArgs({
  options: { kills: { type: 'string', default: '20' }, page: { type: 'boolean', default: false } },
});
const stop = new AbortController();
process.once('SIGINT', () => stop.abort(new Error('interrupted')));
const parsed = parseClusterFile(clusterFile('bench'));
if (!parsed.ok || parsed.lab === undefined) throw new Error('the benchmark’s own file is broken');
const say = (line: string) => void process.stderr.write(`${line}\n`);
const opened = await openStage(parsed.config, parsed.lab, new Claims(), say, stop.signal);
const deaths: Death[] = [];
try {
  const { stage } = opened;
  const flows = new FlowWatch(stage.lab, 'c1', service, 80);
  for (let kill = 0; kill < Number(values.kills) && !stop.signal.aborted; kill++) {
    await untilBothServe(stage, flows);
    // At any moment of the checks' interval.
    await pause(Math.random() * intervalMs);
    const death = await killMember(stage, flows, kill % 2 === 0 ? 'web1' : 'web2');
    deaths.push(death);
    const { refused, lastMs, decidedMs } = death;
    say(
      `${refused} flows refused, the last after ${lastMs.toFixed(1)} ms, ${(lastMs - decidedMs).toFixed(1)} after the decision`,
    );
  }
  await flows.stop();
} finally {
  await opened.close();
}
const row = (what: string, of: (death: Death) => number) => {
  const sorted = deaths.map(of).sort((one, other) => one - other);
  const at = (share: number) =>
    (sorted[Math.ceil(share * sorted.length) - 1] ?? Number.NaN).toFixed(1);
  return [what, String(sorted.length), at(0.5), at(0.9), at(1)];
};
const text = table(
  ['ms', 'kills', 'median', 'p90', 'max'],
  [
    row('from the kill to the last new flow to the dead member', ({ lastMs }) => lastMs),
    row('beyond two intervals', ({ lastMs }) => lastMs - 2 * intervalMs),
    row('from the decision to that flow', ({ lastMs, decidedMs }) => lastMs - decidedMs),
  ],
);
process.stdout.write(`${text}\n`);
if (values.page) {
  const page = new URL('../../docs/benchmarks.md', import.meta.url);
  intoPage(page, 'health', `${text}\n\n${machine}; \`npm run bench:health\`.`);
}
process.exit(0);
