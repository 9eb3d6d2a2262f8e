import { appendFileSync, existsSync, readFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import {
  defaultTiming,
  fastTiming,
  openBench,
  smallTiming,
  type Timing,
  threeTiming,
} from './failover-lab.js';
import { machine } from './machine.js';
import { intoPage, table } from './markdown.js';
import { PeerPair } from './peer.js';
import { everySeries, peerOf, playRound, type Round, type Series, untilReady } from './rounds.js';

/**
 * What a client sees of failovers, ours and keepalived's in turn on one switch:
 * `npm run bench:failover -- [--part default|three|fast|small|faults|moves|peers] [--kills N] [--record FILE] [--page]`.
 *
 * Parts are played one after the other, each in a lab of its own. With --record rounds are also added to
 * a file, and the tables are of all that is in it; --page puts them into docs/benchmarks.md.
 */
interface Part {
  readonly timing: Timing;
  readonly series: readonly Series[];
}

const parts: Readonly<Record<string, Part>> = {
  default: { timing: defaultTiming, series: ['disk', 'plain', 'keepalived'] },
  fast: { timing: fastTiming, series: ['disk', 'plain', 'keepalived'] },
  three: { timing: threeTiming, series: ['disk', 'plain', 'keepalived'] },
  small: { timing: smallTiming, series: ['disk', 'plain', 'keepalived'] },
  faults: { timing: defaultTiming, series: ['leader too', 'etcd leader too'] },
  moves: { timing: defaultTiming, series: ['move disk', 'move plain'] },
  peers: {
    timing: defaultTiming,
    series: ['plain', 'keepalived 1 s', 'ucarp', 'pacemaker tuned', 'pacemaker disk', 'pacemaker'],
  },
};

type Recorded = Round & { readonly timing: string };

const { values } = parseArgs({
  options: {
    part: { type: 'string', multiple: true },
    kills: { type: 'string', default: '20' },
    record: { type: 'string' },
    page: { type: 'boolean', default: false },
  },
});

const rounds: Recorded[] = recorded(values.record);
for (const name of values.part ?? Object.keys(parts)) {
  const part = parts[name];
  if (part === undefined) throw new Error(`no part ${name}; there are ${Object.keys(parts)}`);
  if (Number(values.kills) > 0) await play(part, Number(values.kills));
}
const text = [defaultTiming, threeTiming, fastTiming, smallTiming]
  .filter(wasPlayed)
  .map(tableOf)
  .join('\n\n');
process.stdout.write(`${text}\n`);
if (values.page) {
  const page = new URL('../../docs/benchmarks.md', import.meta.url);
  intoPage(page, 'failover', `${text}\n\n${machine}; \`npm run bench:failover\`.`);
}
process.exit(0);

async function play({ timing, series }: Part, kills: number): Promise<void> {
  const stop = new AbortController();
  process.once('SIGINT', () => stop.abort(new Error('interrupted')));
  const bench = await openBench(timing, stop.signal);
  try {
    const peers = new Map<Series, PeerPair>();
    for (const one of series) {
      const kind = peerOf(one, timing.advertMs);
      if (kind !== undefined) peers.set(one, await PeerPair.up(bench.lab, kind));
    }
    await untilReady(bench);
    for (let kill = 1; kill <= kills && !stop.signal.aborted; kill++) {
      for (const one of series) {
        const round = { timing: timing.name, ...(await playRound(bench, peers, one)) };
        rounds.push(round);
        if (values.record !== undefined) {
          appendFileSync(values.record, `${JSON.stringify(round)}\n`);
        }
        const http = round.httpMs === undefined ? '' : `, HTTP ${Math.round(round.httpMs)} ms`;
        process.stderr.write(
          `${timing.name} ${kill}/${kills} ${one}: ${Math.round(round.gapMs)} ms${http}\n`,
        );
      }
    }
  } finally {
    await bench.close();
  }
}

function recorded(path: string | undefined): Recorded[] {
  if (path === undefined || !existsSync(path)) return [];
  const lines = readFileSync(path, 'utf8').trim().split('\n');
  return lines.filter((line) => line !== '').map((line) => JSON.parse(line) as Recorded);
}

function wasPlayed({ name }: Timing): boolean {
  return rounds.some(({ timing }) => timing === name);
}

function tableOf(timing: Timing): string {
  const mine = rounds.filter((round) => round.timing === timing.name);
  const peer = median(mine.filter(({ series }) => series === 'keepalived').map(gapOf));
  const rows = everySeries.flatMap((series) => {
    const found = mine.filter((round) => round.series === series);
    if (found.length === 0) return [];
    const gaps = found.map(gapOf);
    const own =
      peerOf(series, timing.advertMs) !== undefined ? '' : round(median(gaps) - timing.leaseMs);
    const https = found.flatMap(({ httpMs }) => (httpMs === undefined ? [] : [httpMs]));
    return [
      [
        title(series, timing),
        String(found.length),
        ...[median(gaps), quantile(gaps, 0.99), Math.min(...gaps), Math.max(...gaps)].map(round),
        series.startsWith('move') ? '' : own,
        series.startsWith('move') || Number.isNaN(peer) ? '' : (median(gaps) / peer).toFixed(2),
        https.length === 0 ? '' : round(median(https)),
        stepsText(found),
      ],
    ];
  });
  const head = ['ms', 'rounds', 'median', 'p99', 'min', 'max', '− lease', '÷ keepalived'];
  const heading = `Heartbeat ${timing.heartbeatMs} ms, lease ${timing.leaseMs} ms; keepalived's advert ${timing.advertMs} ms${timing.small === true ? '; three hosts in all, each a controller, the one that is killed not the leader' : ''}`;
  return `${heading}:\n\n${table([...head, 'HTTP', 'steps, medians'], rows)}`;
}

function title(series: Series, timing: Timing): string {
  const titles: Readonly<Record<Series, string>> = {
    disk: 'power cut, with a LUN',
    plain: 'power cut, without volumes',
    keepalived: `keepalived, advert ${timing.advertMs} ms, no storage, no fencing`,
    'etcd leader too': 'with a LUN, etcd’s leader in the same instant',
    'leader too': 'with a LUN, the leading controller in the same instant',
    'move disk': 'planned move, with a LUN',
    'move plain': 'planned move, without volumes',
    'keepalived 1 s': 'keepalived, advert 1 s (its default), no storage, no fencing',
    ucarp: 'ucarp, its defaults (advert 1 s), no storage, no fencing',
    'pacemaker tuned':
      'Pacemaker, IPaddr2, no storage, token 300 ms, a fencing agent that answers at once',
    'pacemaker disk':
      'Pacemaker, a LUN with a file system, then IPaddr2, token 300 ms, a fencing agent that answers at once',
    pacemaker:
      'Pacemaker, IPaddr2, no storage, default token, a fencing agent that answers at once',
  };
  return titles[series];
}

function stepsText(found: readonly Round[]): string {
  const names = [...new Set(found.flatMap(({ stepsMs }) => Object.keys(stepsMs ?? {})))];
  return names
    .map((name) => {
      const values = found.flatMap(({ stepsMs }) => stepsMs?.[name] ?? []);
      return `${name} ${round(median(values))}`;
    })
    .join(', ');
}

function gapOf({ gapMs }: Round): number {
  return gapMs;
}

function median(values: readonly number[]): number {
  return quantile(values, 0.5);
}

/** The smallest value that at least this share of the values do not exceed. */
function quantile(values: readonly number[], share: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.max(0, Math.ceil(share * sorted.length) - 1)] ?? Number.NaN;
}

function round(value: number): string {
  return String(Math.round(value));
}
