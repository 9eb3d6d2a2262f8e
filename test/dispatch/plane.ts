import type { Test } from 'tap';
import type { TrafficReport } from '../../src/control/records.js';
import { DataPlane, dispatchProgram, dispatchXdpProgram } from '../../src/dispatch/data-plane.js';
import { Planner } from '../../src/dispatch/layout.js';
import { type Inherited, type Memory, remembered } from '../../src/dispatch/memory.js';
import type { DispatchSpec } from '../../src/dispatch/types.js';
import { BpfGuard } from '../../src/fencing/guard.js';
import { openLeaseMap } from '../../src/fencing/lease-map.js';
import { tcVerdict, testRun, xdpVerdict } from '../../src/ffi/bpf-test-run.js';
import { ownBpffs, quiet } from '../bpf-place.js';

export const noLimit = 0xffff_ffff_ffff_ffffn;
export const entries = ['tc', 'xdp'] as const;
export type Entry = (typeof entries)[number];

export interface Ran {
  readonly did: 'forward' | 'pass' | 'drop' | 'other';
  readonly frame: Buffer;
}

const verdicts = {
  tc: new Map<number, Ran['did']>([
    [tcVerdict.redirect, 'forward'],
    [tcVerdict.continue, 'pass'],
    [tcVerdict.drop, 'drop'],
  ]),
  xdp: new Map<number, Ran['did']>([
    [xdpVerdict.transmit, 'forward'],
    [xdpVerdict.pass, 'pass'],
    [xdpVerdict.drop, 'drop'],
  ]),
};

/** The programs as the dispatcher loads them, on maps of this test's own, with a clock of its own. */
export class TestPlane {
  readonly plane: DataPlane;
  readonly setLease: (deadlineNs: bigint) => void;
  nowMs = 1_000_000;

  constructor(t: Test, deadlineNs = noLimit) {
    const place = ownBpffs(t);
    const guard = new BpfGuard({ ...place, log: quiet });
    const lease = openLeaseMap(guard.prepare(1));
    lease.raise(deadlineNs);
    this.setLease = (deadline) => lease.raise(deadline);
    this.plane = new DataPlane(place, 1);
    t.teardown(() => {
      this.plane.close();
      guard.close();
      lease.close();
    });
  }

  update(...specs: readonly DispatchSpec[]): Promise<boolean> {
    return this.#change((planner) => {
      for (const spec of specs) planner.put(spec);
    });
  }

  /** As another host that has been told what the dispatcher before it knew. */
  async inherit(spec: DispatchSpec, { flows, ...inherited }: Inherited): Promise<void> {
    const planner = new Planner(this.plane.layout, this.nowMs);
    planner.put(spec, inherited);
    const { layout, fresh } = planner.finish();
    this.plane.recall(layout, flows, this.nowMs);
    await this.plane.commit(layout, fresh, this.nowMs);
  }

  /** What that host is told. */
  async memory(spec: DispatchSpec): Promise<Memory> {
    const macs = this.plane.layout.ids;
    const { words, time } = await this.plane.flows();
    const services = remembered(this.plane.layout, new Map([[spec.service, spec]]));
    return { services, flows: { words, macs }, time };
  }

  remove(service: string): Promise<boolean> {
    return this.#change((planner) => planner.remove(service));
  }

  /** Lets time go on, and everything happen that is due by then. */
  async pass(ms: number): Promise<void> {
    this.nowMs += ms;
    await this.#change(() => {});
  }

  #change(change: (planner: Planner) => void): Promise<boolean> {
    const planner = new Planner(this.plane.layout, this.nowMs);
    change(planner);
    const { layout, fresh } = planner.finish();
    return this.plane.commit(layout, fresh, this.nowMs);
  }

  counters(service = 'web'): TrafficReport {
    const counters = this.plane.counters(service);
    if (counters === undefined) throw new Error(`${service} is not dispatched`);
    return counters;
  }

  run(frame: Uint8Array, entry: Entry = 'tc'): Ran {
    const name = entry === 'tc' ? dispatchProgram : dispatchXdpProgram;
    const ran = testRun(this.plane.programFd(1, name), frame);
    const did = verdicts[entry].get(ran.verdict) ?? 'other';
    return { did, frame: ran.frame };
  }
}
