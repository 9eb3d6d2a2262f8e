import { setTimeout as pause } from 'node:timers/promises';
import type { BpfPlace } from '../src/bpf/place.js';
import { removePins } from '../src/dispatch/data-plane.js';
import { Planner } from '../src/dispatch/layout.js';
import { testRun } from '../src/ffi/bpf-test-run.js';
import { ack, BenchPlane, benchFrame, specs } from './bench-plane.js';
import { median, table } from './medians.js';

const rounds = 21;
const apartMs = 100;
const memberCounts = [3, 100, 1_000];

/**
 * From the decision (a member is down) until a packet goes by it: plan, table, kernel, one packet. The
 * packet is of a flow that the member had, and comes out changed for another one.
 */
export async function changes(place: BpfPlace): Promise<string> {
  const rows: string[][] = [];
  for (const members of memberCounts) {
    removePins(place);
    const scene = { members, services: 1, flows: 65_536, tcpFlags: ack };
    const made = await BenchPlane.make(place, scene);
    const { plane } = made;
    try {
      const programFd = made.programFd('us_dispatch_xdp');
      const tookMs: number[] = [];
      for (let round = 0; round < rounds; round += 1) {
        const frame = flowFrame(round);
        const before = memberOf(testRun(programFd, frame).frame);
        // Changes that follow one another at once wait for packets that still go by the one before.
        await pause(apartMs);
        const startedMs = performance.now();
        const planner = new Planner(plane.layout, 1_000);
        for (const spec of specs(scene, false)) {
          planner.put({
            ...spec,
            members: spec.members.map((member) => ({
              ...member,
              healthy: member.mac.replaceAll(':', '') !== before,
            })),
          });
        }
        const { layout, fresh } = planner.finish();
        await plane.commit(layout, fresh, 1_000);
        if (memberOf(testRun(programFd, frame).frame) === before) throw new Error('it stayed');
        tookMs.push(performance.now() - startedMs);
      }
      const sorted = [...tookMs].sort((one, other) => one - other);
      rows.push([`${members}`, median(tookMs).toFixed(1), (sorted.at(-1) ?? 0).toFixed(1)]);
    } finally {
      plane.close();
    }
  }
  removePins(place);
  return table(['members', 'ms from decision to packet', 'longest'], rows);
}

const memberOf = (frame: Buffer) => frame.toString('hex', 0, 6);

function flowFrame(number: number): Buffer {
  const frame = Buffer.from(benchFrame);
  frame.writeUInt32BE(0x0b00_0000 + number, 26);
  frame.writeUInt16BE(10_000 + number, 34);
  return frame;
}
