import { arch, cpus, release } from 'node:os';
import { objectPath } from '../src/bpf/place.js';
import { type LoadedObject, loadObject } from '../src/ffi/bpf.js';
import { closeFd, createMap, mapType, updateElement } from '../src/ffi/bpf-map.js';
import { tcVerdict, testRun } from '../src/ffi/bpf-test-run.js';
import { figure, intoPage, table } from './markdown.js';
import { median } from './measure.js';

/**
 * What the lease guard costs a frame: `npm run bench:guard`, as root. Each program runs a million times
 * on the same frame (BPF_PROG_TEST_RUN), in turns with the others; medians of one run.
 */
const rounds = 21;
const repeat = 1_000_000;
const frame = new Uint8Array(98);
const tcOk = 0;

interface Subject {
  readonly name: string;
  readonly fd: number;
  readonly verdict: number;
}

function setDeadline(fd: number, deadlineNs: bigint): void {
  const value = new BigUint64Array([deadlineNs]);
  updateElement(fd, Buffer.alloc(4), new Uint8Array(value.buffer));
}

/** The guard with a lease map of its own: nothing is pinned, nothing stays. */
function guardWith(deadlineNs: bigint): { readonly object: LoadedObject; readonly lease: number } {
  const shape = { type: mapType.array, keyBytes: 4, valueBytes: 8, maxEntries: 1 };
  const lease = createMap('us_lease', shape);
  setDeadline(lease, deadlineNs);
  return {
    object: loadObject(objectPath({ bpffs: '' }, 'guard'), new Map([['lease', lease]])),
    lease,
  };
}

const here = (name: string) => new URL(`./${name}.bpf.o`, import.meta.url).pathname;
const bare = loadObject(here('bare'), new Map());
const clocks = loadObject(here('clocks'), new Map());
const held = guardWith(0x7fff_ffff_ffff_ffffn);
const expired = guardWith(1n);

const subjects: readonly Subject[] = [
  { name: 'bare program, TC_ACT_OK', fd: bare.program('bare'), verdict: tcOk },
  {
    name: 'guard, lease held',
    fd: held.object.program('us_guard_out'),
    verdict: tcVerdict.continue,
  },
  {
    name: 'guard, lease over',
    fd: expired.object.program('us_guard_out'),
    verdict: tcVerdict.drop,
  },
  { name: '`bpf_ktime_get_boot_ns` alone', fd: clocks.program('boot_clock'), verdict: tcOk },
  { name: '`bpf_ktime_get_coarse_ns` alone', fd: clocks.program('coarse_clock'), verdict: tcOk },
  { name: '`bpf_jiffies64` alone', fd: clocks.program('jiffies'), verdict: tcOk },
];

const times = subjects.map((): number[] => []);
for (let round = 0; round < rounds; round++) {
  for (const [index, { name, fd, verdict }] of subjects.entries()) {
    const run = testRun(fd, frame, repeat);
    if (run.verdict !== verdict) throw new Error(`${name} says ${run.verdict}, not ${verdict}`);
    times[index]?.push(run.durationNs);
  }
}
for (const { object, lease } of [held, expired]) {
  object.close();
  closeFd(lease);
}
bare.close();
clocks.close();

const medians = times.map(median);
const bareNs = medians[0] ?? Number.NaN;
const text = table(
  ['', 'ns a frame', 'ratio', 'more than bare, ns'],
  subjects.map(({ name }, index) => {
    const ns = medians[index] ?? Number.NaN;
    return [name, figure(ns), figure(ns / bareNs), index === 0 ? '' : figure(ns - bareNs)];
  }),
);
console.log(text);
const machine = `${cpus().length} cores, ${arch()}, Linux ${release().replace(/^(\d+\.\d+).*$/, '$1')}`;
intoPage(
  new URL('../../docs/scale.md', import.meta.url),
  'guard',
  `${text}\n\n${machine}; medians of ${rounds} rounds of ${figure(repeat)} runs each, one run of \`npm run bench:guard\`.`,
);
