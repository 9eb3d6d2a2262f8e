import type { ClusterConfig } from '../config/types.js';
import { electorateOf, electorsOf } from './electorate.js';
import { lookup } from './lookup.js';
import { type HoldReason, type Liveness, Survey } from './placement.js';
import type { AssignmentRecord, FailoverRecord } from './records.js';
import { isSilent } from './silence.js';
import { incarnationId, parseRoleId, type Role, roleId, type View } from './view.js';
import { isMajority, type StandingVote, standingVotes } from './votes.js';

/** Any controller may commit; each next one in rank leaves the one before this long to do it. */
export const rankStepMs = 20;

/** What one controller remembers between decisions. */
export interface FailoverState {
  /** When this controller first saw a majority stand, by incarnation; its boot clock, ms. */
  readonly majoritySinceMs: ReadonlyMap<string, number>;
}

export const initialFailoverState: FailoverState = { majoritySinceMs: new Map() };

export type Verdict =
  | {
      readonly kind: 'fail-over';
      readonly role: Role;
      readonly commit: Commit;
      readonly reason: string;
    }
  | { readonly kind: 'hold'; readonly role: Role; readonly reason: HoldReason | 'not-my-turn' };

/**
 * One transaction: all the comparisons that make it safe whoever sends it and however late it
 * lands, and what it writes. A stale sender fails on the assignment's revision; a vote taken back
 * in the meantime fails on the vote's.
 */
export interface Commit {
  readonly role: Role;
  readonly from: { readonly host: string; readonly incarnation: number };
  readonly assignmentRevision: number;
  readonly configRevision: number;
  readonly votes: readonly StandingVote[];
  /** Enrolment of the new host that the choice rests on; null when the role becomes unplaced. */
  readonly toHostRevision: number | null;
  readonly next: AssignmentRecord;
  readonly record: FailoverRecord | null;
}

export interface Circumstances {
  readonly me: string;
  readonly leader: boolean;
  readonly nowMs: number;
  readonly unixMs: number;
  readonly bootId: string;
  readonly liveness: Liveness;
}

/** Which roles to fail over now, which to hold and why, and when to look again. */
export function decideFailovers(
  state: FailoverState,
  view: View,
  now: Circumstances,
): { state: FailoverState; verdicts: readonly Verdict[]; wakeAtMs: number | undefined } {
  if (view.config === undefined) return { state, verdicts: [], wakeAtMs: undefined };
  const { config } = view.config.value;
  const majoritySinceMs = new Map<string, number>();
  const verdicts: Verdict[] = [];
  let wakeAtMs: number | undefined;
  let survey: Survey | undefined;
  const electors = electorsOf(electorateOf(view.config.value));
  for (const { id, host, incarnation, votes } of votedOut(view, config)) {
    const key = incarnationId(host, incarnation);
    const sinceMs = state.majoritySinceMs.get(key) ?? now.nowMs;
    majoritySinceMs.set(key, sinceMs);
    const turnMs = sinceMs + rankOf(electors, now) * rankStepMs;
    const role = parseRoleId(id);
    if (now.nowMs < turnMs) {
      wakeAtMs = Math.min(wakeAtMs ?? turnMs, turnMs);
      verdicts.push({ kind: 'hold', role, reason: 'not-my-turn' });
      continue;
    }
    survey ??= new Survey(view, config, now.liveness);
    const verdict = failOver(view, role, votes, sinceMs, now, survey);
    if (verdict.kind === 'fail-over') survey.note(role, verdict.commit.next);
    verdicts.push(verdict);
  }
  return { state: { majoritySinceMs }, verdicts, wakeAtMs };
}

function failOver(
  view: View,
  role: Role,
  votes: readonly StandingVote[],
  votedMs: number,
  now: Circumstances,
  survey: Survey,
): Verdict {
  const kept = view.assignments.get(roleId(role));
  if (kept === undefined || kept.value.host === null || view.config === undefined) {
    return { kind: 'hold', role, reason: 'unknown-role' };
  }
  const old = kept.value;
  const from = { host: kept.value.host, incarnation: old.incarnation };
  const base = {
    role,
    from,
    assignmentRevision: kept.revision,
    configRevision: view.config.revision,
    votes,
  };
  if (!isSilent(view, from.host, from.incarnation)) {
    return { kind: 'hold', role, reason: 'not-proven-silent' };
  }
  const choice = survey.replace(role, from.host);
  if (choice.kind === 'hold') {
    if (choice.reason !== 'unknown-role') return { kind: 'hold', role, reason: choice.reason };
    const reason = 'no longer in the cluster file, and its host is voted expired';
    const next = { ...unplaced(old), cause: 'lease-expired', reason } as const;
    const commit = { ...base, toHostRevision: null, next, record: null };
    return { kind: 'fail-over', role, commit, reason };
  }
  const epoch = old.epoch + 1;
  const electors = electorsOf(electorateOf(view.config.value));
  const reason = `${votes.length} of ${electors.length} controllers voted ${from.host}/${from.incarnation} expired; ${choice.host} is ${choice.reason}`;
  const record: FailoverRecord = {
    id: `${role.name}-${epoch}`,
    kind: role.kind,
    name: role.name,
    from: from.host,
    fromIncarnation: from.incarnation,
    to: choice.host,
    epoch,
    cause: 'lease-expired',
    reason,
    evidence: votes.map(({ controller, lastAckAgoMs }) => ({ controller, lastAckAgoMs })),
    committedBy: now.me,
    atUnixMs: now.unixMs,
    zeroMs: newestAckMs(votes, now) ?? votedMs,
    votedMs,
    commitMs: now.nowMs,
    bootId: now.bootId,
  };
  const next: AssignmentRecord = {
    host: choice.host,
    incarnation: choice.incarnation,
    epoch,
    state: 'assigned',
    cause: 'lease-expired',
    reason,
    to: null,
    failover: record.id,
  };
  const toHostRevision = view.hosts.get(choice.host)?.revision ?? null;
  return { kind: 'fail-over', role, commit: { ...base, toHostRevision, next, record }, reason };
}

/** The same role with nobody in it. */
export function unplaced(old: AssignmentRecord): AssignmentRecord {
  const { move: _, ...kept } = old;
  return {
    ...kept,
    host: null,
    incarnation: 0,
    epoch: old.epoch + 1,
    state: 'unplaced',
    to: null,
    failover: null,
  };
}

/**
 * Zero of the record: the newest acknowledgement of any voter. Only times of the deciding
 * controller's own clock can be compared; other votes' own clocks are used only where the boot is
 * the same (a lab), else the time of the majority stands in and says nothing of detection.
 */
function newestAckMs(votes: readonly StandingVote[], now: Circumstances): number | undefined {
  const acks = votes
    .filter((vote) => vote.lastAckAgoMs !== null && vote.bootId === now.bootId)
    .map((vote) => vote.atMs - (vote.lastAckAgoMs ?? 0));
  return acks.length === 0 ? undefined : Math.max(...acks);
}

function rankOf(electors: readonly string[], now: Circumstances): number {
  return now.leader ? 0 : 1 + Math.max(0, electors.indexOf(now.me));
}

interface VotedOut {
  readonly id: string;
  readonly host: string;
  readonly incarnation: number;
  readonly votes: readonly StandingVote[];
}

/** Roles whose owner a majority has voted out: higher priority first, then by name. */
function votedOut(view: View, config: ClusterConfig): readonly VotedOut[] {
  if (view.votes.size === 0) return [];
  const found: VotedOut[] = [];
  for (const [id, { value }] of view.assignments) {
    const { host, incarnation } = value;
    if (host === null) continue;
    const votes = standingVotes(view, host, incarnation);
    if (isMajority(view, votes)) found.push({ id, host, incarnation, votes });
  }
  const { personalities } = lookup(config);
  const priority = (id: string) => {
    const { kind, name } = parseRoleId(id);
    return (kind === 'personality' ? personalities.get(name)?.priority : undefined) ?? 100;
  };
  return found.sort(
    (a, b) => priority(b.id) - priority(a.id) || (a.id < b.id ? -1 : a.id > b.id ? 1 : 0),
  );
}
