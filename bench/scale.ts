import { arch, cpus } from 'node:os';
import { type CoreCosts, measureCore } from './core.js';
import { type HeartbeatCosts, measureHeartbeats } from './heartbeats.js';
import { figure, intoPage, table } from './markdown.js';
import { measurePulse, type PulseCosts } from './pulse.js';
import { measureStore, type StoreCosts } from './store.js';

/**
 * How the work of a controller grows with the cluster: `npm run bench:scale`. The production core with
 * no store and no network, then a real store with as many hosts connected to it; medians of one run, printed and
 * put into docs/scale.md.
 */
const sizes = [10, 100, 1_000];
const say = (line: string) => void process.stderr.write(`${line}\n`);

interface Costs {
  readonly hosts: number;
  readonly beats: HeartbeatCosts;
  readonly pulse: PulseCosts;
  readonly core: CoreCosts;
}

const measured: Costs[] = [];
for (const hosts of sizes) {
  say(`${hosts} hosts …`);
  const pulse = await measurePulse(hosts);
  measured.push({ hosts, pulse, beats: measureHeartbeats(hosts), core: measureCore(hosts) });
}

const row = (name: string, cell: (costs: Costs) => string): readonly string[] => [
  name,
  ...measured.map(cell),
];
const failover = (count: number, unit: 'perRole' | 'whole') => (costs: Costs) => {
  const found = costs.core.failover.get(count);
  if (found === undefined) return '';
  return figure(unit === 'perRole' ? found.perRole : (found.perRole * found.roles) / 1_000);
};

const lines = [
  row('heartbeat → ack, decision alone, µs', ({ beats }) => figure(beats.decide)),
  row('the same with both packets’ HMAC, µs', ({ beats }) => figure(beats.whole)),
  row('a real pulse on loopback: its CPU for each, kernel included, µs', ({ pulse }) =>
    figure(pulse.cpuUs),
  ),
  row(
    'the same of one core, at 20 a second from each host',
    ({ pulse }) => `${figure(pulse.corePercent)} %`,
  ),
  row('acknowledged meanwhile, of those sent', ({ pulse }) => `${figure(pulse.ackedPercent)} %`),
  row('look at all hosts’ promises, µs', ({ beats }) => figure(beats.look)),
  row('look that finds one host silent, µs', ({ beats }) => figure(beats.lapse)),
  row('memory of pulse for one host, bytes', ({ beats }) => figure(beats.bytesPerHost)),
  row('news (a report) into the view, µs', ({ core }) => figure(core.newsToView)),
  row('controller looks at all after news, nothing to do, µs', ({ core }) =>
    figure(core.newsToLeader),
  ),
  row('any host looks at its duties and forwarding after news, µs', ({ core }) =>
    figure(core.newsToHost),
  ),
  row('1 host fails: all its failovers decided, ms', failover(1, 'whole')),
  row('10 hosts fail at once, ms', failover(10, 'whole')),
  row('100 hosts fail at once, ms', failover(100, 'whole')),
  row('900 hosts fail at once, ms', failover(900, 'whole')),
  row('900 hosts fail at once, µs a role', failover(900, 'perRole')),
  row('first placement, µs a role', ({ core }) => figure(core.placementPerRole)),
  row('snapshot of the whole store into a view, ms', ({ core }) => figure(core.snapshot / 1_000)),
  row('memory of a view, KiB', ({ core }) => figure(core.viewBytes / 1_024)),
];
const head = ['', ...sizes.map((hosts) => `${figure(hosts)} hosts`)];
const machine = `${cpus().length} cores, ${arch()}, Node ${process.versions.node}`;
const page = new URL('../../docs/scale.md', import.meta.url);
const show = (name: string, rows: readonly (readonly string[])[]) => {
  const text = table(head, rows);
  console.log(text);
  intoPage(page, name, `${text}\n\n${machine}; medians of one run of \`npm run bench:scale\`.`);
};
show('scale', lines);

const stores: StoreCosts[] = [];
for (const hosts of sizes) {
  say(`${hosts} hosts on a real store …`);
  stores.push(await measureStore(hosts));
}
const of = (name: string, cell: (costs: StoreCosts) => number) => [
  name,
  ...stores.map((costs) => figure(cell(costs))),
];
const mib = 1_048_576;
show('store', [
  of(
    'until all hosts are connected and know everything, 16 at a time, s',
    ({ joinedMs }) => joinedMs / 1_000,
  ),
  of('a host’s report is written, ms', ({ writtenMs }) => writtenMs),
  of('half of the hosts have it, ms', ({ halfMs }) => halfMs),
  of('all have it, ms', ({ allMs }) => allMs),
  of('processor time of the three members for it, ms', ({ memberCpuMs }) => memberCpuMs),
  of(
    'majority of votes → the host’s roles are committed elsewhere, ms',
    ({ committedMs }) => committedMs,
  ),
  of('the same until all hosts know, ms', ({ knownMs }) => knownMs),
  of('memory of the biggest member, MiB', ({ biggestMemberBytes }) => biggestMemberBytes / mib),
  of('database of a member, MiB', ({ databaseBytes }) => databaseBytes / mib),
]);
