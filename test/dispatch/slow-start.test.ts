import fc from 'fast-check';
import tap, { test } from 'tap';
import { slowStartSteps, startingWeight } from '../../src/control/slow-start.js';
import { mostExactMembers } from '../../src/dispatch/rendezvous.js';
import { isTracked, keepsFlows, nextRing, nobody, type Ring } from '../../src/dispatch/ring.js';
import { buildTable, slotCount } from '../../src/dispatch/table.js';
import type { DispatchMember } from '../../src/dispatch/types.js';

tap.setTimeout(120_000);
const drainMs = 300_000;

/** Members of these weights, of which the first is on its way back: `step` 0 is down, 8 has all. */
function members(weights: readonly number[], step: number): readonly DispatchMember[] {
  return weights.map((weight, at) => ({
    personality: `web${at}`,
    mac: `02:00:00:00:00:${at.toString(16).padStart(2, '0')}`,
    weight: at === 0 && step > 0 ? startingWeight(weight, step) : weight,
    healthy: at > 0 || step > 0,
  }));
}
const weights = (most: number) =>
  fc.array(fc.integer({ min: 1, max: 1_000 }), { minLength: 2, maxLength: most });

test('a step gives slots to the member that is back, and moves none between others', (t) => {
  const property = fc.property(weights(mostExactMembers), (list) => {
    let before = buildTable({ service: 'web', members: members(list, 0) }).slots;
    for (let step = 1; step <= slowStartSteps; step += 1) {
      const { slots } = buildTable({ service: 'web', members: members(list, step) });
      // web0 sorts first: its index is 0.
      if (slots.some((to, slot) => to !== before[slot] && to !== 0)) return false;
      before = slots;
    }
    const whole = buildTable({ service: 'web', members: members(list, slowStartSteps) });
    return Buffer.compare(Buffer.from(before.buffer), Buffer.from(whole.slots.buffer)) === 0;
  });
  t.doesNotThrow(() => fc.assert(property, { numRuns: 15 }));
  t.end();
});

test('its share grows with the steps', (t) => {
  const shares = Array.from({ length: slowStartSteps }, (_, at) => {
    const { slots } = buildTable({ service: 'web', members: members([1, 1, 1], at + 1) });
    return slots.filter((to) => to === 0).length / slotCount;
  });
  for (const [at, share] of shares.entries()) {
    const part = (at + 1) / slowStartSteps;
    const wanted = part / (part + 2);
    t.ok(Math.abs(share / wanted - 1) < 0.05, `step ${at + 1}: ${share} of ${wanted}`);
  }
  t.end();
});

/** What native/flows.h does with a flow of which a packet comes now and then, as a model. */
class Flow {
  readonly #slot: number;
  readonly member: string;
  #recorded: { readonly place: number; readonly era: number } | undefined;

  constructor(ring: Ring, slot: number) {
    this.#slot = slot;
    const place = ring.slots[slot] ?? nobody;
    if (isTracked(ring, slot)) this.#recorded = { place, era: ring.eras[slot] ?? 0 };
    this.member = ring.places[place]?.personality ?? '';
  }

  packet(ring: Ring, nowMs: number): string {
    const era = ring.eras[this.#slot] ?? 0;
    let place = ring.slots[this.#slot] ?? nobody;
    if (isTracked(ring, this.#slot)) {
      const recorded = this.#recorded?.era === era ? this.#recorded.place : undefined;
      const previous = ring.previous[this.#slot] ?? nobody;
      if (recorded !== undefined && keepsFlows(ring.places[recorded], nowMs)) place = recorded;
      else if (previous !== nobody && nowMs < ring.windowUntilMs) place = previous;
      this.#recorded = { place, era };
    }
    return ring.places[place]?.personality ?? '';
  }
}

for (const [what, most] of [
  ['drawn', mostExactMembers],
  ['Maglev’s', 24],
] as const) {
  test(`no flow that goes on leaves its member while one comes back: tables ${what}`, (t) => {
    const property = fc.property(
      weights(most),
      fc.array(fc.integer({ min: 1, max: drainMs - 1 }), { minLength: 16, maxLength: 16 }),
      fc.array(fc.nat(slotCount - 1), { minLength: 20, maxLength: 60 }),
      (list, pausesMs, starts) => {
        let nowMs = 0;
        let ring: Ring | undefined;
        const flows: Flow[] = [];
        const turn = (step: number) => {
          const pool = { members: members(list, step), drainMs };
          ring = nextRing(ring, pool, nowMs, 'web');
          return ring;
        };
        for (let round = 0; round < 16; round += 1) {
          const now = turn(Math.min(slowStartSteps, round));
          if (flows.some((flow) => flow.packet(now, nowMs) !== flow.member)) return false;
          flows.push(...starts.map((slot) => new Flow(now, (slot + round) % slotCount)));
          nowMs += pausesMs[round] ?? 1;
          // Each goes on within a drain's time.
          if (flows.some((flow) => flow.packet(now, nowMs - 1) !== flow.member)) return false;
        }
        return true;
      },
    );
    t.doesNotThrow(() => fc.assert(property, { numRuns: 6 }));
    t.end();
  });
}
