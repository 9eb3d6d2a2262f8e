import { countsByUs } from './controllers-change.js';
import { currentReport } from './reports.js';
import type { View } from './view.js';
import { isShutOut } from './votes.js';

/**
 * Whether a role may be given to this incarnation. One that has never held its lease could do nothing
 * with it: a host that reaches the store and no controller enrols anew again and again, and would take
 * roles from hosts that are well, each time until it is voted out.
 *
 * Neither the lease once held nor the shutting out is ever taken back, so a transaction that compares
 * the enrolment need not compare what the report said.
 */
export function isEligible(view: View, host: string, incarnation: number): boolean {
  if (!hasHeldLease(view, host, incarnation) || !countsByUs(view, host, incarnation)) return false;
  return !isShutOut(view, host, incarnation);
}

/** Enrolled and not shut out, but no majority of controllers has acknowledged it yet. */
export function isJoining(view: View, host: string): boolean {
  const incarnation = view.hosts.get(host)?.value.incarnation;
  if (incarnation === undefined || hasHeldLease(view, host, incarnation)) return false;
  return !isShutOut(view, host, incarnation);
}

function hasHeldLease(view: View, host: string, incarnation: number): boolean {
  // An agent of a version that does not tell counts as one that holds it.
  if (view.features.get(host)?.value.tellsLease !== true) return true;
  return currentReport(view, host, incarnation)?.leased === true;
}
