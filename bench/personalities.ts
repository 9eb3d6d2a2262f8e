import { readFileSync } from 'node:fs';
import { arch, cpus, release } from 'node:os';
import { parseClusterFile } from '../src/config/parse.js';
import type { Status } from '../src/control/status.js';
import { Claims } from '../src/demo/claims.js';
import { openStage } from '../src/demo/open-stage.js';
import type { Stage } from '../src/demo/stage.js';
import type { Lab } from '../src/lab/lab.js';
import { PingWatch } from '../src/observe/observers.js';
import { figure, intoPage, table } from './markdown.js';
import { median } from './measure.js';

/**
 * Many personalities on three hosts, which are the controllers too: how long until all run, how long what one
 * host carried is silent when its every process stops, and what it takes in memory. `npm run bench:personalities`
 * puts it into docs/scale.md; numbers after `--` are other sizes, which are printed alone.
 */
const named = process.argv.slice(2).map(Number);
const sizes = named.length > 0 ? named : [10, 100, 500];
const settleMs = 300_000;
const takeoverMs = 120_000;
/** Clients that look from outside at addresses that the host carried. */
const watched = 3;

interface Costs {
  readonly count: number;
  readonly upMs: number;
  readonly moved: number;
  /** From the stop until the store says that all run elsewhere. */
  readonly allRunMs: number;
  /** What a client saw, of a few of them. */
  readonly gapsMs: readonly number[];
  readonly agentMiB: number;
  readonly pulseMiB: number;
}

const address = (index: number) => `10.10.${1 + Math.floor(index / 200)}.${1 + (index % 200)}`;

const file = (count: number) => `
cluster: many
controllers: [h1, h2, h3]
hosts: [{name: h1}, {name: h2}, {name: h3}]
networks: [{name: blue, fabric: auto, id: 100, subnet: 10.10.0.0/16}]
personalities:
${Array.from(
  { length: count },
  (_, index) => `  - {name: p${index}, networks: [{network: blue, address: ${address(index)}/16}]}`,
).join('\n')}
lab:
  clients: [{name: c1, network: blue, address: 10.10.0.200/16}]
`;

async function measure(count: number): Promise<Costs> {
  const parsed = parseClusterFile(file(count));
  if (!parsed.ok || parsed.lab === undefined) throw new Error('the benchmark’s own file is broken');
  const { signal } = new AbortController();
  const say = (line: string) => void process.stderr.write(`${line}\n`);
  const startedMs = performance.now();
  const opened = await openStage(parsed.config, parsed.lab, new Claims(), say, signal, {
    settleMs,
  });
  const upMs = performance.now() - startedMs;
  try {
    const { stage, lab } = opened;
    const rss = (daemon: 'agent' | 'pulse') =>
      Math.max(...['h1', 'h2', 'h3'].map((host) => residentMiB(lab, host, daemon)));
    const agentMiB = rss('agent');
    const pulseMiB = rss('pulse');
    return { count, upMs, agentMiB, pulseMiB, ...(await stop(stage, lab, count)) };
  } finally {
    await opened.close();
  }
}

async function stop(stage: Stage, lab: Lab, count: number) {
  const before = await stage.status();
  const host = before.personalities.find(({ name }) => name === 'p0')?.host ?? '';
  const moved = before.personalities.filter((one) => one.host === host).map(({ name }) => name);
  const looked = [moved[0], moved[Math.floor(moved.length / 2)], moved.at(-1)]
    .slice(0, watched)
    .map((name) => new PingWatch(stage.lab, 'c1', address(Number(name?.slice(1)))));
  try {
    await Promise.all(looked.map((ping) => ping.answerAfter(Date.now(), 20_000)));
    const stoppedMs = Date.now();
    // Not its power: this machine's one kernel would take down the cut host's devices, and hold the lock that
    // the takeovers need, as no real host does.
    await lab.pause(host);
    await stage.until(
      'all run elsewhere',
      (status) => runElsewhere(status, host, count),
      takeoverMs,
    );
    const allRunMs = Date.now() - stoppedMs;
    await Promise.all(looked.map((ping) => ping.answerAfter(Date.now(), 20_000)));
    const gapsMs = looked.map((ping) => ping.longestGapMs(stoppedMs) ?? Number.NaN);
    return { moved: moved.length, allRunMs, gapsMs };
  } finally {
    await Promise.all(looked.map((ping) => ping.stop()));
  }
}

function runElsewhere({ personalities }: Status, host: string, count: number): boolean {
  const running = personalities.filter((one) => one.phase === 'running' && one.host !== host);
  return running.length === count;
}

function residentMiB(lab: Lab, host: string, daemon: 'agent' | 'pulse'): number {
  const pid = lab.machine(host).daemon(daemon).process?.pid ?? 0;
  const status = readFileSync(`/proc/${pid}/status`, 'utf8');
  return Number(/^VmRSS:\s+(\d+) kB/m.exec(status)?.[1]) / 1_024;
}

const measured: Costs[] = [];
for (const count of sizes) {
  process.stderr.write(`${count} personalities …\n`);
  measured.push(await measure(count));
}
const row = (name: string, cell: (costs: Costs) => number): readonly string[] => [
  name,
  ...measured.map((costs) => figure(cell(costs))),
];
const text = table(
  ['personalities, on three hosts', ...sizes.map(figure)],
  [
    row('until all run, lab’s start included, s', ({ upMs }) => upMs / 1_000),
    row('a host stops: personalities that move', ({ moved }) => moved),
    row('a client’s gap to one of them, median of a few, s', (one) => median(one.gapsMs) / 1_000),
    row('the longest of those, s', ({ gapsMs }) => Math.max(...gapsMs) / 1_000),
    row('until all of them run elsewhere, s', ({ allRunMs }) => allRunMs / 1_000),
    row('memory of the biggest agent, MiB', ({ agentMiB }) => agentMiB),
    row('memory of the biggest pulse, MiB', ({ pulseMiB }) => pulseMiB),
  ],
);
console.log(text);
if (named.length === 0) {
  const linux = release().split('.', 2).join('.');
  const machine = `${cpus().length} cores for the whole lab, ${arch()}, Linux ${linux}, Node ${process.versions.node}`;
  const page = new URL('../../docs/scale.md', import.meta.url);
  intoPage(
    page,
    'personalities',
    `${text}\n\n${machine}; one run of \`npm run bench:personalities\`.`,
  );
}
