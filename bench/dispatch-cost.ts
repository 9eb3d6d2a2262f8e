import type { BpfPlace } from '../src/bpf/place.js';
import { removePins } from '../src/dispatch/data-plane.js';
import { testRun } from '../src/ffi/bpf-test-run.js';
import { ack, BenchPlane, benchFrame, type Scene, syn } from './bench-plane.js';
import { interleaved, table } from './medians.js';

const rounds = 15;
const repeat = 400_000;
const steady: Scene = { members: 3, services: 1, flows: 65_536, tcpFlags: ack };

const scenes: readonly (readonly [string, Scene])[] = [
  ['steady, 64k flows, 3 members', steady],
  ['1M flows', { ...steady, flows: 1 << 20 }],
  ['1,000 members', { ...steady, members: 1_000 }],
  ['1,024 services, one pool', { ...steady, services: 1_024 }],
  ['a member drains', { ...steady, drain: true }],
  ['16M SYNs while a member drains', { ...steady, flows: 1 << 24, tcpFlags: syn, drain: true }],
  ['16M SYNs, nothing moves', { ...steady, flows: 1 << 24, tcpFlags: syn }],
];

/** Nanoseconds a packet by BPF_PROG_TEST_RUN, against a program that does nothing but swap MACs. */
export async function costs(place: BpfPlace): Promise<string> {
  const planes: BenchPlane[] = [];
  try {
    const measures: Record<string, () => number> = {};
    for (const [name, scene] of scenes) {
      // Tables of its own: pins would hand on those of the one before.
      removePins(place);
      const plane = await BenchPlane.make(place, scene);
      planes.push(plane);
      const run = (program: string) => () =>
        testRun(plane.programFd(program), benchFrame, repeat).durationNs;
      if (planes.length === 1) {
        measures['XDP: bare'] = run('bench_xdp_bare');
        measures['tc: bare'] = run('bench_tc_bare');
        measures[`tc: ${name}`] = run('bench_tc_core');
      }
      measures[`XDP: ${name}`] = run('bench_xdp_core');
    }
    const ns = interleaved(rounds, measures);
    const rows = Object.entries(ns).map(([name, cost]) => {
      const bare = ns[name.startsWith('tc') ? 'tc: bare' : 'XDP: bare'] ?? Number.NaN;
      return [name, cost.toFixed(0), (cost / bare).toFixed(2)];
    });
    return table(['program', 'ns a packet', 'of bare'], rows);
  } finally {
    for (const { plane } of planes) plane.close();
    removePins(place);
  }
}
