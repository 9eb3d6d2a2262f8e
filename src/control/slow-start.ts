/** Each is a new table on the dispatching host, and a report to every agent. */
export const slowStartSteps = 8;

/**
 * How far a member has come that is back for `sinceMs`: from 1 at once to `slowStartSteps`, which is its
 * whole weight. The member's own host counts it and reports it, so that every host that can dispatch has
 * the same table.
 */
export function slowStep(sinceMs: number, slowStartMs: number): number {
  const gone = Math.floor((Math.max(0, sinceMs) * slowStartSteps) / slowStartMs);
  return Math.min(slowStartSteps, 1 + gone);
}

/** Until the next step, from now; undefined: it has its whole weight. */
export function nextStepMs(sinceMs: number, slowStartMs: number): number | undefined {
  const step = slowStep(sinceMs, slowStartMs);
  if (step === slowStartSteps) return undefined;
  return Math.ceil((step * slowStartMs) / slowStartSteps) - Math.max(0, sinceMs);
}

/**
 * The weight that a member's slots are dealt by. It only grows: with up to 8 members a step takes slots
 * from others for this member, and moves none between others.
 */
export function startingWeight(weight: number, step: number | undefined): number {
  // A report of another version may say what this one does not know.
  const known = Number.isInteger(step) && Number(step) >= 1 && Number(step) < slowStartSteps;
  if (step === undefined || !known) return weight;
  return (weight * step) / slowStartSteps;
}
