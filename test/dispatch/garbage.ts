import type { DispatchSpec } from '../../src/dispatch/types.js';
import { type Dice, garbage, leastBytes } from './any-frames.js';
import { mac } from './packets.js';
import { entries, type Ran, type TestPlane } from './plane.js';

const sum = (counts: readonly number[]) => counts.reduce((total, count) => total + count, 0);

/**
 * Garbage to all services, by both ways in.
 *
 * @returns what was wrong with a frame, or with the counters at the end: in = sent on + passed + dropped
 */
export function garbageAddsUp(
  plane: TestPlane,
  specs: readonly DispatchSpec[],
  dice: Dice,
  frames: number,
): readonly string[] {
  const problems: string[] = [];
  const seen = new Map(specs.map(({ service }) => [service, { forward: 0, pass: 0, drop: 0 }]));
  const before = new Map(specs.map(({ service }) => [service, totals(plane, service)]));
  for (let count = 0; count < frames && problems.length < 10; count += 1) {
    const spec = dice.of(specs);
    const frame = garbage(spec, dice);
    const able = entries.filter((entry) => frame.length >= leastBytes(entry, frame));
    const ran = plane.run(frame, dice.of(able));
    const wrong = wrongWith(spec, frame, ran);
    if (wrong !== undefined) problems.push(`${wrong}: ${frame.toString('hex')}`);
    const counts = seen.get(spec.service);
    if (counts !== undefined && ran.did !== 'other') counts[ran.did] += 1;
  }
  for (const [service, counts] of seen) {
    const [now, was] = [totals(plane, service), before.get(service)];
    const counted = {
      forward: now.forward - (was?.forward ?? 0),
      pass: now.pass - (was?.pass ?? 0),
      drop: now.drop - (was?.drop ?? 0),
    };
    if (JSON.stringify(counted) !== JSON.stringify(counts)) {
      problems.push(`${service}: ${JSON.stringify(counts)} counted as ${JSON.stringify(counted)}`);
    }
  }
  return problems;
}

function totals(plane: TestPlane, service: string) {
  const { forwarded, passed, dropped } = plane.counters(service);
  return {
    forward: sum(forwarded.map(({ packets }) => packets)),
    pass: passed,
    drop: sum(Object.values(dropped)),
  };
}

function wrongWith(spec: DispatchSpec, frame: Buffer, ran: Ran): string | undefined {
  if (ran.did === 'other') return 'a verdict that is none of ours';
  if (ran.did !== 'forward') return ran.frame.equals(frame) ? undefined : 'changed though kept';
  if (!ran.frame.subarray(12).equals(frame.subarray(12))) return 'changed beyond its MACs';
  if (!ran.frame.subarray(6, 12).equals(mac(spec.mac))) return 'not from the service’s MAC';
  const to = ran.frame.subarray(0, 6);
  return spec.members.some(({ mac: member }) => mac(member).equals(to)) ? undefined : 'to nobody';
}
