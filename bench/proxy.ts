import { parseArgs } from 'node:util';
import { parseClusterFile } from '../src/config/parse.js';
import { Claims } from '../src/demo/claims.js';
import { openStage } from '../src/demo/open-stage.js';
import { must, type Stage } from '../src/demo/stage.js';
import { end } from '../src/observe/observers.js';
import { machine } from './machine.js';
import { intoPage, table } from './markdown.js';
import { median } from './measure.js';

/**
 * `npm run bench:proxy -- [--rounds N] [--page]`: the shared address beside a proxy, HAProxy, that hands
 * connections to the same two servers. The client is wrk; all share one machine's processors, so who takes
 * fewer of them for a connection lets more through.
 */
const members = { web1: '10.10.0.11', web2: '10.10.0.12' } as const;
const shared = '10.10.0.100';
const proxy = '10.10.0.201';
const seconds = 3;
const connections = 16;
const largeBytes = 1_048_576;
const patienceMs = 30_000;

const server = (name: string) => {
  const folder = `/run/bench-${name}`;
  const settings = `pid ${folder}/pid; worker_processes 1; error_log /dev/null; events {} http { access_log off; server { listen 80 reuseport; root ${folder}; } }`;
  const script = `mkdir -p ${folder} && cd ${folder} && echo ${name} > small && head -c ${largeBytes} /dev/zero > large && echo '${settings}' > conf && exec nginx -c ${folder}/conf -g 'daemon off;'`;
  return JSON.stringify(['sh', '-c', script]);
};

const file = `
cluster: bench
controllers: [h1, h2, h3]
hosts: [{name: h1}, {name: h2}, {name: h3}]
networks: [{name: blue, fabric: auto, id: 100, subnet: 10.10.0.0/24}]
personalities:
${Object.entries(members)
  .map(
    ([name, address]) => `  - name: ${name}
    networks: [{network: blue, address: ${address}/24}]
    workload: {command: ${server(name)}}
`,
  )
  .join('')}
services:
  - name: web
    network: blue
    address: ${shared}
    ports: [{protocol: tcp, port: 80}]
    members: [web1, web2]
    hash: source-ip-port
    health: {tcp: 80, every: 1s}
lab:
  clients:
    - {name: c1, network: blue, address: 10.10.0.200/24}
    - {name: proxy, network: blue, address: ${proxy}/24}
`;

/** As its manual has it for TCP, with connections shared out by turns. */
const haproxy = `global
  maxconn 4000
  nbthread 1
defaults
  mode tcp
  timeout connect 5s
  timeout client 30s
  timeout server 30s
listen web
  bind ${proxy}:80
  balance roundrobin
${Object.entries(members)
  .map(([name, address]) => `  server ${name} ${address}:80 check inter 1s\n`)
  .join('')}`;

const paths = {
  'no balancer, one member': members.web1,
  'the shared address': shared,
  'HAProxy, mode tcp': proxy,
} as const;
type Path = keyof typeof paths;
const names = Object.keys(paths) as Path[];

interface Load {
  readonly what: string;
  readonly page: 'small' | 'large';
  readonly kept: boolean;
  /** Of a second’s requests, the figure that is shown. */
  readonly shown: (requestsPerSecond: number) => number;
}

const loads: readonly Load[] = [
  { what: 'new connections/s', page: 'small', kept: false, shown: Math.round },
  { what: 'requests/s, connections kept', page: 'small', kept: true, shown: Math.round },
  {
    what: 'MB/s, 1 MiB each',
    ...{ page: 'large', kept: true },
    shown: (rate) => Math.round((rate * largeBytes) / 1e6),
  },
];

/** @returns requests a second, as wrk counted them; what failed is an error */
async function measure(stage: Stage, address: string, { page, kept }: Load): Promise<number> {
  const close = kept ? [] : ['-H', 'Connection: close'];
  const load = [
    'wrk',
    '-t',
    '1',
    '-c',
    String(connections),
    '-d',
    `${seconds}s`,
    '--timeout',
    '20s',
    ...close,
  ];
  const said = await must(stage, 'c1', [...load, `http://${address}/${page}`]);
  const rate = Number(said.match(/^Requests\/sec:\s+([\d.]+)$/m)?.[1] ?? Number.NaN);
  if (!(rate > 0) || /Non-2xx|Socket errors/.test(said)) throw new Error(`${address}: ${said}`);
  return rate;
}

async function play(stage: Stage, rounds: number): Promise<Map<string, number[]>> {
  const seen = new Map<string, number[]>();
  for (let round = 1; round <= rounds; round++) {
    for (const load of loads) {
      for (const name of names) {
        const rate = await measure(stage, paths[name], load);
        const key = `${name} ${load.what}`;
        seen.set(key, [...(seen.get(key) ?? []), rate]);
        process.stderr.write(`${round}/${rounds} ${name}: ${load.shown(rate)} ${load.what}\n`);
      }
    }
  }
  return seen;
}

const { values } = parseArgs({
  options: { rounds: { type: 'string', default: '5' }, page: { type: 'boolean', default: false } },
});
const stop = new AbortController();
process.once('SIGINT', () => stop.abort(new Error('interrupted')));
const parsed = parseClusterFile(file);
if (!parsed.ok || parsed.lab === undefined) throw new Error('the benchmark’s own file is broken');
const say = (line: string) => void process.stderr.write(`${line}\n`);
const opened = await openStage(parsed.config, parsed.lab, new Claims(), say, stop.signal);
let seen = new Map<string, number[]>();
try {
  const { stage } = opened;
  const script = `printf '%s' "$0" > /run/haproxy.conf && exec haproxy -db -f /run/haproxy.conf`;
  const running = stage.lab.spawn('proxy', ['sh', '-c', script, haproxy]);
  try {
    await stage.until(
      'both members are up',
      ({ services }) => services[0]?.members.every(({ health }) => health === 'up') ?? false,
      patienceMs,
    );
    const wait = `until curl -sf -m 1 http://${proxy}/small; do sleep 0.1; done`;
    await must(stage, 'c1', ['timeout', '30', 'sh', '-c', wait]);
    seen = await play(stage, Number(values.rounds));
  } finally {
    await end(running, 'SIGTERM');
  }
} finally {
  await opened.close();
}

const text = table(
  [`median of ${values.rounds} rounds`, ...loads.map(({ what }) => what)],
  names.map((name) => [
    name,
    ...loads.map(({ what, shown }) => {
      const rates = seen.get(`${name} ${what}`) ?? [];
      const [least, most] = [Math.min(...rates), Math.max(...rates)].map(shown);
      return `${shown(median(rates))} (${least}–${most})`;
    }),
  ]),
);
process.stdout.write(`${text}\n`);
if (values.page) {
  const page = new URL('../../docs/benchmarks.md', import.meta.url);
  intoPage(page, 'proxy', `${text}\n\n${machine}; \`npm run bench:proxy\`.`);
}
process.exit(0);
