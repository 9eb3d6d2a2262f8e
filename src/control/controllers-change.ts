import {
  type Electorate,
  electorateOf,
  electorsOf,
  formerElectorate,
  isQuorum,
} from './electorate.js';
import { allRules } from './lease/rules.js';
import type { ConfigRecord } from './records.js';
import { currentReport } from './reports.js';
import { configOf, incarnationId, type View } from './view.js';
import { enrolledIncarnations, standingVotes } from './votes.js';

/**
 * Changing the set of controllers while personalities run. docs/architecture.md tells why each step
 * is there. How far a change is stands in the store alone:
 *
 * 1. `apply` writes the joint configuration: commits need majorities of both sets.
 * 2. `reading`: each controller reads it together with votes and retired marks, and says so.
 * 3. `moving`: each host counts its lease under both sets, and says so.
 * 4. `refusing`: the old controllers refuse, durably, whoever counts under the old set alone.
 * 5. `waiting`: one lease with margin, from when a majority of those refusals was seen.
 * 6. The final configuration is written; `settling`: hosts move on to the new set.
 */
export type ChangePhase = 'reading' | 'moving' | 'refusing' | 'waiting' | 'settling';

export interface ControllersChange {
  /** null once the final configuration is written. */
  readonly from: readonly string[] | null;
  readonly to: readonly string[];
  readonly phase: ChangePhase;
  /** Hosts, controllers among them, that it waits for. */
  readonly waitsFor: readonly string[];
  readonly reason: string;
}

/** How far a change is; undefined when none is under way. */
export function controllersChange(view: View): ControllersChange | undefined {
  const record = view.config?.value;
  if (record?.controllers === undefined) return undefined;
  const { from } = record.controllers;
  const to = record.config.controllers;
  const change = (phase: ChangePhase, waitsFor: readonly string[], reason: string) => ({
    ...{ from, to, phase, waitsFor },
    reason: waitsFor.length === 0 ? reason : `${reason}: ${waitsFor.join(', ')}`,
  });
  const { set, sets } = electorateOf(record);
  if (!isRead(view)) {
    const unread = electorsOf({ sets }).filter((name) => !hasRead(view, name));
    return change('reading', unread, 'controllers are to read the new configuration');
  }
  const unmoved = unmovedHosts(view, set);
  const down = from === null ? [] : newOnesDown(view, from, to);
  if (down.length > 0) {
    return change('moving', down, 'too few of the new ones are up (the old file goes back)');
  }
  if (from === null) {
    if (unmoved.length === 0) return undefined;
    return change('settling', unmoved, 'hosts are to count their leases by the new controllers');
  }
  if (unmoved.length > 0 && allRules.hostsMoveFirst) {
    return change('moving', unmoved, 'hosts are to count their leases by old and new controllers');
  }
  if (refusals(view) === undefined) {
    const silent = from.filter((name) => refusedBelow(view, name) < set);
    return change('refusing', silent, 'old controllers are to refuse leases under the old set');
  }
  const longer = longerLeases(view);
  if (longer.length > 0) return change('waiting', longer, 'a longer lease may be running');
  return change('waiting', [], 'the last lease under the old set runs out');
}

/**
 * Under which set this host is to count its lease; undefined: as it does. It moves only when its next
 * heartbeat will be acknowledged, also if one controller fails right then: all who are up have read the
 * configuration, and majorities have no vote against it. A host that enrols before that does so under
 * the old set.
 *
 * @param current the set that its pulse counts under for this incarnation; undefined: none
 * @param least the lowest that its enrolment names: others rely on that it never goes below
 */
export function electorateToHold(
  view: View,
  host: string,
  incarnation: number,
  current: number | undefined,
  least = 0,
): Electorate | undefined {
  if (view.config === undefined) return undefined;
  const next = electorateOf(view.config.value);
  // What the watch shows may be behind what an agent before this one went by.
  if (Math.max(current ?? 0, least) > next.set) return undefined;
  const against = standingVotes(view, host, incarnation).map(({ controller }) => controller);
  const carried = isQuorum(next.sets, (name) => hasRead(view, name) && !against.includes(name));
  if ((isRead(view) && carried) || current === next.set) return next;
  return current === undefined ? (formerElectorate(view.config.value) ?? next) : undefined;
}

/** Whether this host counts its lease by controllers whose votes count: only then it gets a role. */
export function countsByUs(view: View, host: string, incarnation: number): boolean {
  const since = view.config?.value.controllers?.since ?? 0;
  return since === 0 || (currentReport(view, host, incarnation)?.set ?? 0) >= since;
}

/** What this controller, one of the old ones, must refuse by now: sets below this. */
export function setToRefuseBelow(view: View, me: string): number {
  const before = refusedBelow(view, me);
  const { set = 0, from = null } = view.config?.value.controllers ?? {};
  if (from === null || !from.includes(me)) return before;
  const phase = controllersChange(view)?.phase;
  return phase === 'refusing' || phase === 'waiting' ? Math.max(before, set) : before;
}

/**
 * Whether this controller is only about to become one. Until a host has moved it hears nothing from
 * it, which says nothing about the host: it follows the old ones' votes.
 */
export function isNewcomer(view: View, me: string): boolean {
  const from = view.config?.value.controllers?.from;
  return from !== null && from !== undefined && !from.includes(me);
}

/** When one driver of the change saw that a majority of the old controllers refuses. */
export interface DriveState {
  readonly refused: { readonly set: number; readonly sinceMs: number } | null;
}

export const notDriving: DriveState = { refused: null };

/** The last step: the transaction compares the configuration and the refusals that it rests on. */
export interface FinalStep {
  readonly configRevision: number;
  readonly refusals: readonly { readonly controller: string; readonly revision: number }[];
  readonly next: ConfigRecord;
  readonly reason: string;
}

/**
 * What the leader does for a change that is under way. A leader that dies over it leaves nothing to
 * tidy up: the next one waits anew, by its own clock, from when it sees the refusals itself.
 */
export function decideChange(
  state: DriveState,
  view: View,
  nowMs: number,
): {
  readonly state: DriveState;
  readonly final: FinalStep | undefined;
  readonly wakeAtMs: number | undefined;
} {
  const kept = view.config;
  const change = controllersChange(view);
  const standing = refusals(view);
  const set = kept?.value.controllers?.set ?? 0;
  if (kept === undefined || change === undefined || standing === undefined) {
    return { state: notDriving, final: undefined, wakeAtMs: undefined };
  }
  // One that may have been granted before the refusals outlasts an ordinary wait.
  if (change.phase !== 'waiting' || longerLeases(view).length > 0) {
    return { state: notDriving, final: undefined, wakeAtMs: undefined };
  }
  const sinceMs = state.refused?.set === set ? state.refused.sinceMs : nowMs;
  const next: DriveState = { refused: { set, sinceMs } };
  const overMs = sinceMs + (allRules.waitForLastLease ? lastLeaseMs(kept.value) : 0);
  if (nowMs < overMs) return { state: next, final: undefined, wakeAtMs: overMs };
  const names = (list: readonly string[]) => list.join(', ');
  return {
    state: next,
    final: {
      configRevision: kept.revision,
      refusals: standing,
      next: { ...kept.value, controllers: { set: set + 1, since: set, from: null } },
      reason: `${names(change.to)} alone from now on; ${standing.length} of ${names(change.from ?? [])} refuse the old set since ${Math.round(nowMs - sinceMs)} ms`,
    },
    wakeAtMs: undefined,
  };
}

/**
 * By then a lease that was acknowledged before the refusals has ended, on whatever clock: one lease,
 * stretched by the bound on clock rates, and a millisecond for rounding.
 */
function lastLeaseMs({ config }: ConfigRecord): number {
  const { leaseMs, clockMarginPercent } = config.timing;
  return Math.ceil(leaseMs * (1 + clockMarginPercent / 100)) + 1;
}

/** Whether majorities of all sets have read the present configuration, and everybody who is up. */
function isRead(view: View): boolean {
  if (view.config === undefined) return false;
  const electorate = electorateOf(view.config.value);
  const { sets } = electorate;
  const waited = electorsOf(electorate).filter((name) => !hasRead(view, name));
  const [old = []] = sets;
  return (
    isQuorum(sets, (name) => hasRead(view, name)) &&
    waited.every((name) => isSaidDead(view, old, name))
  );
}

/** Every cluster begins with set 0, which nobody has to read. */
function hasRead(view: View, controller: string): boolean {
  const set = view.config?.value.controllers?.set ?? 0;
  return (view.sets.get(controller)?.value.accepts ?? 0) >= set;
}

/** Whether a majority of these controllers has voted against it, or it was never there. */
function isSaidDead(view: View, controllers: readonly string[], name: string): boolean {
  const incarnation = view.hosts.get(name)?.value.incarnation;
  if (incarnation === undefined) return true;
  const votes = standingVotes(view, name, incarnation).map(({ controller }) => controller);
  return isQuorum([controllers], (voter) => votes.includes(voter));
}

/** Refusals of the set before by a majority of the old controllers; undefined for fewer. */
function refusals(view: View): FinalStep['refusals'] | undefined {
  const { set = 0, from = null } = view.config?.value.controllers ?? {};
  if (from === null) return undefined;
  const standing = from.flatMap((controller) => {
    const kept = view.sets.get(controller);
    return kept === undefined || kept.value.refusesBelow < set
      ? []
      : [{ controller, revision: kept.revision }];
  });
  const refused = new Set(standing.map(({ controller }) => controller));
  return isQuorum([from], (name) => refused.has(name)) ? standing : undefined;
}

const refusedBelow = (view: View, controller: string): number =>
  view.sets.get(controller)?.value.refusesBelow ?? 0;

/**
 * New controllers that the old ones say are dead, if no majority of the new ones is left without them.
 * Going back is possible at once as long as the old ones count.
 */
function newOnesDown(
  view: View,
  from: readonly string[],
  to: readonly string[],
): readonly string[] {
  const down = to.filter((name) => isSaidDead(view, from, name));
  return isQuorum([to], (name) => !down.includes(name)) ? [] : down;
}

/** Hosts with a longer lease that may be running: whose incarnation is voted out has none. */
function longerLeases(view: View): readonly string[] {
  if (view.longer.size === 0) return [];
  const enrolled = new Set(enrolledIncarnations(view));
  return [...view.longer].flatMap(([host, { value }]) =>
    enrolled.has(incarnationId(host, value.incarnation)) ? [host] : [],
  );
}

/**
 * Hosts that may hold a lease under a set before this one. Who enrolled under this one cannot: a host
 * that was voted out while it was waited for, and is back, holds up nothing.
 */
function unmovedHosts(view: View, set: number): readonly string[] {
  const enrolled = new Set(enrolledIncarnations(view));
  return (configOf(view)?.hosts ?? []).flatMap(({ name }) => {
    const record = view.hosts.get(name)?.value;
    if (record === undefined || !enrolled.has(incarnationId(name, record.incarnation))) return [];
    const held = currentReport(view, name, record.incarnation)?.set ?? 0;
    return Math.max(held, record.set ?? 0) < set ? [name] : [];
  });
}
