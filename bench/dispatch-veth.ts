import { execFileSync } from 'node:child_process';
import type { BpfPlace } from '../src/bpf/place.js';
import { sumPerCpu } from '../src/bpf/programs.js';
import { removePins } from '../src/dispatch/data-plane.js';
import { attachFilter, ensureHooks, interfaceIndex } from '../src/ffi/bpf-filter.js';
import { closeFd } from '../src/ffi/bpf-map.js';
import { sendLive } from '../src/ffi/bpf-test-run.js';
import { inNetworkNamespace } from '../src/ffi/namespace.js';
import { attachXdp } from '../src/ffi/xdp.js';
import { ack, BenchPlane, benchFrame, type Scene } from './bench-plane.js';
import { type Peer, setUpPeer } from './dispatch-nft.js';
import { median, table } from './medians.js';

const frames = 2_000_000;
const fewFrames = 200_000;
const scene: Scene = { members: 3, services: 1, flows: 65_536, tcpFlags: ack };

interface Path {
  readonly name: string;
  readonly scene: Scene;
  /** At the dispatcher’s end of the cable. */
  readonly xdp: string;
  readonly tc?: string;
  /** In place of ours. */
  readonly peer?: Peer;
}

const nftFwd = 'nftables fwd by jhash';
const nftDnat = 'nftables DNAT by jhash';

const paths: readonly Path[] = [
  { name: 'XDP no-op', scene, xdp: 'bench_xdp_noop' },
  { name: 'XDP dispatcher, steady', scene, xdp: 'us_dispatch_xdp' },
  {
    name: 'XDP dispatcher, a member drains',
    scene: { ...scene, drain: true },
    xdp: 'us_dispatch_xdp',
  },
  { name: 'tc no-op', scene, xdp: 'bench_pass', tc: 'bench_tc_noop' },
  { name: 'tc dispatcher, steady', scene, xdp: 'bench_pass', tc: 'us_dispatch' },
  { name: nftFwd, scene, xdp: 'bench_pass', peer: 'nft fwd' },
  { name: nftDnat, scene, xdp: 'bench_pass', peer: 'nft DNAT' },
];

/** Million packets a second through a veth pair on one CPU: generator, dispatcher and back. */
export async function endToEnd(place: BpfPlace, rounds = 9): Promise<string> {
  const rates = new Map<string, number[]>(paths.map(({ name }) => [name, []]));
  for (let round = 0; round < rounds; round += 1) {
    for (const path of paths) rates.get(path.name)?.push(await measure(place, path));
  }
  const medians = new Map(paths.map(({ name }) => [name, median(rates.get(name) ?? [])]));
  const rows = paths.map(({ name }) => {
    const rate = medians.get(name) ?? 0;
    const noop = medians.get(name.startsWith('XDP') ? 'XDP no-op' : 'tc no-op') ?? 0;
    const times = (other: string) => (rate / (medians.get(other) ?? Number.NaN)).toFixed(1);
    return [name, rate.toFixed(2), (rate / noop).toFixed(2), times(nftFwd), times(nftDnat)];
  });
  return table(['path', 'million packets/s', 'of the no-op', 'of nft fwd', 'of nft DNAT'], rows);
}

async function measure(place: BpfPlace, path: Path): Promise<number> {
  removePins(place);
  const plane = await BenchPlane.make(place, path.scene);
  const [generator, dispatcher] = [`usbench-${process.pid}-g`, `usbench-${process.pid}-d`];
  const links: number[] = [];
  try {
    for (const name of [generator, dispatcher]) execFileSync('ip', ['netns', 'add', name]);
    const veth = `link add g0 netns ${generator} type veth peer name d0 netns ${dispatcher}`;
    execFileSync('ip', veth.split(' '));
    for (const [name, device] of [
      [generator, 'g0'],
      [dispatcher, 'd0'],
    ] as const) {
      execFileSync('ip', ['-n', name, 'link', 'set', device, 'up']);
    }
    const at = <T>(name: string, action: () => T) =>
      inNetworkNamespace(`/run/netns/${name}`, action);
    const tc = (device: string, program: string) => {
      const index = interfaceIndex(device);
      ensureHooks(index);
      const spot = { interfaceIndex: index, hook: 'ingress', priority: 1, handle: 1 } as const;
      attachFilter(spot, plane.programFd(program), false);
    };
    at(dispatcher, () => {
      links.push(attachXdp(interfaceIndex('d0'), plane.programFd(path.xdp), 'native'));
      if (path.tc !== undefined) tc('d0', path.tc);
    });
    if (path.peer !== undefined) setUpPeer(dispatcher, path.peer);
    const inStack = path.tc !== undefined || path.peer !== undefined;
    return at(generator, () => {
      const sink = inStack ? 'bench_pass' : 'bench_sink';
      const index = interfaceIndex('g0');
      links.push(attachXdp(index, plane.programFd(sink), 'native'));
      if (inStack) tc('g0', 'bench_tc_sink');
      const sunk = () => Number(sumPerCpu(plane.plane.mapFd('bench_sunk'), 0, 1)[0]);
      const send = (count: number) => {
        const startedNs = process.hrtime.bigint();
        sendLive(plane.programFd('bench_generate'), benchFrame, index, count);
        return Number(process.hrtime.bigint() - startedNs) / 1e3;
      };
      send(fewFrames);
      // What a run costs however many it sends is taken off.
      const fewUs = send(fewFrames);
      const before = sunk();
      const manyUs = send(frames);
      const arrived = (sunk() - before) / frames;
      return ((frames - fewFrames) * arrived) / (manyUs - fewUs);
    });
  } finally {
    for (const link of links) closeFd(link);
    for (const name of [generator, dispatcher]) {
      try {
        execFileSync('ip', ['netns', 'delete', name]);
      } catch {
        // It was not made.
      }
    }
    plane.plane.close();
    removePins(place);
  }
}
